package catalog

import (
	"context"

	"capstan/core/store"
)

// File is what a sealed files file is read through: a file of the image
// database, or calls to the master. Tasks may share it.
type File interface {
	// ReadAt fills b from an offset, as [io.ReaderAt] does.
	ReadAt(ctx context.Context, b []byte, offset int64) (int, error)
	// Size is the length of the file in bytes.
	Size(ctx context.Context) (int64, error)
	Close() error
}

// stored is a file of a [store.Dir].
type stored struct{ file store.File }

func (s stored) ReadAt(_ context.Context, b []byte, offset int64) (int, error) {
	return s.file.ReadAt(b, offset)
}

func (s stored) Size(context.Context) (int64, error) { return s.file.Size() }
func (s stored) Close() error                        { return s.file.Close() }
