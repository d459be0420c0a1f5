#!/bin/sh
# Makes the embedded model: sh encoder/golbertmini/make.sh MINILM BGE DATA WORK
#
#   MINILM  folder of all-MiniLM-L6-v2 (sentence-transformers/all-MiniLM-L6-v2)
#   BGE     folder of the teacher, bge-small-en-v1.5 (BAAI/bge-small-en-v1.5; MIT)
#           go run ./examples/fetch brings both from the hub
#   DATA    folder with training pairs: nq-qed, medquad, powershell-docs, cosqa-dev, afriqa, tldr-crosslingual, each with
#           pairs.jsonl.zst of {"query", "positive"}, and perhaps prose.jsonl of {"text"}: documentation and the like
#   WORK    folder for what lies between; what is there already is not made again, and training goes on where it stopped
#
# About 15 minutes for the lists and 40 for the training on two cores with bfloat16 products; 3 GB of memory.
set -eu
[ $# -eq 4 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
minilm=$1 bge=$2 data=$3 work=$4
cd "$(dirname "$0")/../.."
mkdir -p "$work"

pairs() { echo "$data/$1/pairs.jsonl.zst${2-}"; }
[ -d "$work/start" ] || go run ./encoder/golbertmini/mkmodel -checkpoint "$minilm" -folder "$work/start" -tokens 400000 \
  "$(pairs nq-qed)" "$(pairs medquad)" "$(pairs powershell-docs)" "$(pairs cosqa-dev)"

if [ ! -f "$work/lists.jsonl.zst" ]; then
  set -- -texts "$(pairs tldr-crosslingual ,2500)"
  [ ! -f "$data/prose.jsonl" ] || set -- "$@" -texts "$data/prose.jsonl,6500"
  go run ./encoder/golbertmini/mklists -student "$minilm" -teacher "$bge" -o "$work/lists.jsonl.zst" "$@" \
    "$(pairs nq-qed)" "$(pairs medquad ,9000)" "$(pairs powershell-docs ,5000)" "$(pairs cosqa-dev)" "$(pairs afriqa ,2000)"
fi

[ -d "$work/trained" ] || go run ./examples/train -model "$work/start" -data "$work/lists.jsonl.zst" -out "$work/run" -resume \
  -loss kl -temperature 0.15 -lr 5e-5 -warmup 0.06 -steps 520 -batch 32 -tokens 4096 -precision bfloat16 \
  -eval 100 -eval-queries 200 -eval-documents 1200 -checkpoint 50 -seed 1 -export "$work/trained"

go run ./encoder/golbertmini/mkmodel -trained "$work/trained" -o encoder/golbertmini/model.safetensors
