package handwritten

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// mostBytes is more than any file has that a person wrote, or a tool for one.
const mostBytes = 32 << 20

// ReadFile is os.ReadFile for what a person names: it ends with a device, with a file that
// is too large for memory, and with a pipe that nobody writes to, which is as an empty file.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(data) > mostBytes {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is larger than %d MiB", mostBytes>>20)}
	}
	return data, err
}
