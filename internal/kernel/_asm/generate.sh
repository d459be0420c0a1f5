#!/bin/sh
# Regenerates the amd64 assembly of internal/kernel and its Go declarations. With -check it changes nothing and fails
# when what is committed differs from what the generator writes.
set -eu
cd "$(dirname "$0")"
kernel=$(cd .. && pwd)
if [ "${1:-}" = -check ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	mkdir "$tmp/_asm"
	cp go.mod go.sum ./*.go "$tmp/_asm"
	cd "$tmp/_asm"
fi
for f in gemm maxsim vector convert interact residual peak; do
	go run . -file $f -pkg kernel -out ../${f}_amd64.s -stubs ../${f}_stub_amd64.go
	[ "$PWD" = "$kernel/_asm" ] || diff -u "$kernel/${f}_amd64.s" ../${f}_amd64.s
	[ "$PWD" = "$kernel/_asm" ] || diff -u "$kernel/${f}_stub_amd64.go" ../${f}_stub_amd64.go
done
