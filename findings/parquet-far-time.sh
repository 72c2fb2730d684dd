#!/bin/sh
# Versions: github.com/parquet-go/parquet-go 0.32.0.
# A column of microseconds holds times of 290,000 years. parquet-go writes 31 December 9999,
# the date that many databases have for "no end", as the right number, and other readers
# read it. But reading into time.Time it multiplies by 1000 for nanoseconds first, which
# overflows beyond 1677 to 2262: 9999 comes back as 29 March 1816, and a time.Time that was
# never set, which is the year 1, as 1754. Milliseconds the same. Hence a file that the
# package writes it does not read, and says nothing. Through an int64 field with the same
# tag, all of it is right.
# Guessed before: what is written in microseconds is read as such.
# Exits non-zero if it does otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/parquet-go/parquet-go"
)

type pass struct {
	Micro time.Time `parquet:"micro,timestamp(microsecond)"`
	Milli time.Time `parquet:"milli,timestamp(millisecond)"`
}

type number struct {
	Micro int64 `parquet:"micro,timestamp(microsecond)"`
	Milli int64 `parquet:"milli,timestamp(millisecond)"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var b bytes.Buffer
	for _, t := range []time.Time{
		time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		{},
	} {
		b.Reset()
		must(parquet.Write(&b, []pass{{t, t}}))
		numbers, err := parquet.Read[number](bytes.NewReader(b.Bytes()), int64(b.Len()))
		must(err)
		times, err := parquet.Read[pass](bytes.NewReader(b.Bytes()), int64(b.Len()))
		must(err)
		fmt.Println("written ", t)
		fmt.Println("in file ", time.UnixMicro(numbers[0].Micro).UTC(), "|", time.UnixMilli(numbers[0].Milli).UTC())
		fmt.Println("read    ", times[0].Micro.UTC(), "|", times[0].Milli.UTC())
	}
}
GO
go mod init finding 2>/dev/null
go get github.com/parquet-go/parquet-go@v0.32.0 2>got || { cat got >&2; exit 1; }
go run . >seen
cat >want <<'EOF'
written  2026-07-01 12:00:00 +0000 UTC
in file  2026-07-01 12:00:00 +0000 UTC | 2026-07-01 12:00:00 +0000 UTC
read     2026-07-01 12:00:00 +0000 UTC | 2026-07-01 12:00:00 +0000 UTC
written  9999-12-31 00:00:00 +0000 UTC
in file  9999-12-31 00:00:00 +0000 UTC | 9999-12-31 00:00:00 +0000 UTC
read     1816-03-29 05:56:08.066277376 +0000 UTC | 1816-03-29 05:56:08.066277376 +0000 UTC
written  0001-01-01 00:00:00 +0000 UTC
in file  0001-01-01 00:00:00 +0000 UTC | 0001-01-01 00:00:00 +0000 UTC
read     1754-08-30 22:43:41.128654848 +0000 UTC | 1754-08-30 22:43:41.128654848 +0000 UTC
EOF
cat seen
diff want seen
