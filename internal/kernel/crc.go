package kernel

import "hash/crc32"

// crcCall is how many bytes go into one call: a few microseconds.
const crcCall = 256 << 10

// CRC32C continues a checksum with Castagnoli's polynomial, 0 at the start, by b, as crc32.Update does.
func CRC32C(crc uint32, b []byte) uint32 { return crc32cAt(active, crc, b) }

func crc32cAt(l isa, crc uint32, b []byte) uint32 {
	if foldsCRC(l) {
		for len(b) >= 256 {
			n := min(len(b)&^255, crcCall)
			crc = ^foldCRC(b[:n], ^crc)
			b = b[n:]
		}
		if len(b) == 0 {
			return crc
		}
	}
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), b) // the table is made once
}
