package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clockTrials set guestflow's wall clock, as an operator or a time server does; how time
// passes stays as it is. No clock of the machine is touched: the binary is built with a
// package time whose Now adds what a file holds.
var clockTrials = []trial{
	{name: "clock set ahead, and back", missing: fixedClock, long: 8, harm: func(m *machine, r *rand.Rand) error { return m.stepped(r, jump(r)) }},
	{name: "clock set back, and ahead", missing: fixedClock, long: 8, harm: func(m *machine, r *rand.Rand) error { return m.stepped(r, -jump(r)) }},
	{name: "clock set ahead between two runs", missing: fixedClock, long: 6, harm: func(m *machine, r *rand.Rand) error { return m.steppedBetween(r, jump(r)) }},
	{name: "clock set back between two runs", missing: fixedClock, long: 6, harm: func(m *machine, r *rand.Rand) error { return m.steppedBetween(r, -jump(r)) }},
}

func jump(r *rand.Rand) time.Duration {
	return []time.Duration{5 * time.Second, 90 * time.Second, time.Hour, 25 * time.Hour}[r.IntN(4)]
}

func fixedClock(m *machine) string {
	if m.clock == "" {
		return "its clock cannot be set in this form; leave out --short"
	}
	return ""
}

// stepped sets the clock, and sets it right again.
func (m *machine) stepped(r *rand.Rand, by time.Duration) error {
	if err := m.setClock(by); err != nil {
		return err
	}
	time.Sleep(m.between(r, time.Second, 4*time.Second))
	return errors.Join(m.lives(), m.setClock(0), m.lives())
}

// steppedBetween has one run on another time than those before and after it.
func (m *machine) steppedBetween(r *rand.Rand, by time.Duration) error {
	m.kill()
	if err := errors.Join(m.setClock(by), m.start()); err != nil {
		return err
	}
	time.Sleep(m.between(r, time.Second, 4*time.Second))
	if err := m.lives(); err != nil {
		return err
	}
	m.kill()
	return errors.Join(m.setClock(0), m.start())
}

// setClock says how far guestflow's clock is ahead of the machine's.
func (m *machine) setClock(by time.Duration) error {
	f, err := os.OpenFile(m.clock, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(int64(by/time.Second)))
	_, err = f.WriteAt(b[:], 0)
	return errors.Join(err, f.Close())
}

// clockVariable names the file in the environment of guestflow.
const clockVariable = "ROBUSTNESS_CLOCK"

// steppedSource is added to package time.
const steppedSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var step *int64

func init() {
	name, found := syscall.Getenv("` + clockVariable + `")
	if !found {
		return
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	step = (*int64)(unsafe.Pointer(&b[0]))
}

func stepped() int64 {
	if step == nil {
		return 0
	}
	return atomic.LoadInt64(step)
}
`

// settableClock makes the file of a clock in a directory, and returns its name, and the
// overlay with which to build.
func settableClock(dir string) (clock, overlay string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", "", err
	}
	of := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(of, "time.go"))
	if err != nil {
		return "", "", err
	}
	const read = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), read) != 1 {
		return "", "", fmt.Errorf("time.Now of this Go release is another than was known: see settableClock")
	}
	clock = filepath.Join(dir, "clock")
	files := map[string][]byte{
		"time.go":    []byte(strings.Replace(string(source), read, read+"\tsec += stepped()\n", 1)),
		"stepped.go": []byte(steppedSource),
		"clock":      make([]byte, 8),
	}
	replace := map[string]string{filepath.Join(of, "time.go"): filepath.Join(dir, "time.go"), filepath.Join(of, "stepped.go"): filepath.Join(dir, "stepped.go")}
	if files["overlay.json"], err = json.Marshal(map[string]any{"Replace": replace}); err != nil {
		return "", "", err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", "", err
		}
	}
	return clock, filepath.Join(dir, "overlay.json"), nil
}
