package target

// ReedSolomon is the Reed-Solomon CRC, for tests of the wire.
func ReedSolomon(p []byte) uint32 { return reedSolomon(p) }
