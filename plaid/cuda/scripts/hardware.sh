#!/bin/sh
# What a device is to show, in one go and under 8 minutes on an H100 with 16 processors: the tests on it, the kernels' rates
# beside its peaks, search and building beside the CPU's results, and what torch and fast-plaid do with the same vectors.
#
#	sh plaid/cuda/scripts/hardware.sh [OUT]
#
# from the root of the repository. Logs go to OUT (default: hardware). Where there is no Go, the programs must be in OUT
# already, built elsewhere for this system:
#
#	go build -o hardware/bench ./examples/bench && go test -c -o hardware/cuda.test ./plaid/cuda
#
# DATA is a folder of token vectors as examples/bench reads them; without it DOCS (100,000) documents of 80 tokens are made.
set -u
out=${1:-hardware}
mkdir -p "$out"
out=$(cd "$out" && pwd)
threads=$(nproc)
if command -v go >/dev/null; then
	go build -o "$out/bench" ./examples/bench && go test -c -o "$out/cuda.test" ./plaid/cuda || exit 1
fi

failed=0
step() { # name, seconds, command
	name=$1 limit=$2
	shift 2
	start=$(date +%s)
	timeout "$limit" "$@" >"$out/$name.log" 2>"$out/$name.err"
	code=$?
	[ $code -eq 0 ] || failed=1
	echo "== $name: exit $code after $(($(date +%s) - start)) s"
	tail -n 40 "$out/$name.log"
	[ $code -eq 0 ] || tail -n 20 "$out/$name.err"
}

cd plaid/cuda || exit 1
step tests 120 "$out/cuda.test" -test.short -test.v
grep -h "^--- FAIL\|^cuda:" "$out/tests.log"
step kernels 90 "$out/cuda.test" -test.run '^$' -test.bench Device -test.v
cd ../..
data=${DATA:-}
if [ -z "$data" ]; then
	data=$out/data
	[ -f "$data/doclens.i32.npy" ] || step data 120 "$out/bench" -case write -to "$data" -docs "${DOCS:-100000}" -doclen 80 -threads "$threads" -json
fi
step search 180 "$out/bench" -case cuda -data "$data" -threads "$threads" -points 1:256,2:512,4:1024,8:2048,16:4096,auto,exhaustive -json
step peers 180 python3 plaid/cuda/scripts/peers.py "$data"
exit $failed
