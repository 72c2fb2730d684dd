package store

import (
	"errors"
	"io/fs"
	"os"
)

// WhileUnused calls do while no process has the file at path open, and keeps others from
// opening it meanwhile. Where one has it, the error is ErrLocked, and do is not called.
// Where there is no file, nobody has it. Nothing is written.
func WhileUnused(path string, do func() error) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return do()
	}
	f, err := openBolt(path, fileMode{wait: atOnce})
	if err != nil {
		return err
	}
	return errors.Join(do(), f.db.Close())
}
