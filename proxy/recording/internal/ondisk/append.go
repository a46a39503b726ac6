package ondisk

import (
	"errors"
	"io"
	"math"
	"os"
)

// Append writes all of b behind the first size bytes of f, which was opened
// for appending, or takes back what was written in part, as on a full disk:
// nobody was shown what it holds.
func Append(f *os.File, b []byte, size int64) error {
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	Appended.Add(int64(len(b)))
	return nil
}

// MoveTail moves what stands behind good in f, if anything, to the end of a
// file of its own, called name: what fits nothing may still be evidence.
func MoveTail(root *os.Root, name string, f *os.File, good int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() <= good {
		return err
	}
	torn, err := Open(root, name, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return err
	}
	_, err = io.Copy(torn, io.NewSectionReader(f, good, math.MaxInt64-good))
	if err == nil {
		err = torn.Sync()
	}
	if err = errors.Join(err, torn.Close()); err != nil {
		return err
	}
	return f.Truncate(good)
}
