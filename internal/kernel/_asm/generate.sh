#!/bin/sh
# Regenerates the assembly of internal/kernel for amd64 and arm64 and its Go declarations. With -check it changes
# nothing and fails when what is committed differs from what the generators write.
set -eu
cd "$(dirname "$0")"
kernel=$(cd .. && pwd)
if [ "${1:-}" = -check ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	mkdir "$tmp/_asm"
	cp -r go.mod go.sum ./*.go neon "$tmp/_asm"
	cd "$tmp/_asm"
fi
for f in gemm gemmbf16 gemmint8 maxsim half vector convert gather levels residual peak grad adam unpack crc; do
	go run . -file $f -pkg kernel -out ../${f}_amd64.s -stubs ../${f}_stub_amd64.go
	made="${f}_amd64.s ${f}_stub_amd64.go"
	case $f in
	gemmbf16 | half | levels | grad | adam | unpack | crc) ;; # amd64 only
	*)
		go run ./neon -file $f -out ../${f}_arm64.s -stubs ../${f}_stub_arm64.go
		made="$made ${f}_arm64.s ${f}_stub_arm64.go"
		;;
	esac
	[ "$PWD" != "$kernel/_asm" ] || continue
	for made in $made; do
		diff -u "$kernel/$made" ../$made
	done
done
