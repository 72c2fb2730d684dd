//go:build !unix

package pipeline

import "errors"

var errPlatform = errors.New("this system cannot stop and continue processes: run the benchmark on Linux")

func (c *process) stop() error { return errPlatform }
func (c *process) goOn() error { return errPlatform }
