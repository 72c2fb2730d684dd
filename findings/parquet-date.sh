#!/bin/sh
# Versions: github.com/parquet-go/parquet-go 0.32.0 (0.27.0 too).
# A field of type time.Time with the tag "date" becomes a column of the logical type DATE,
# which counts days since 1970. What parquet-go writes there is not the days but the lower
# 32 bits of the nanoseconds since 1970: 1 July 2026 becomes day -1428881408, which is some
# day of the year 3910176 BC, and so every reader reads it. Its own reader does too, since
# that one rightly takes the column for days; where days were written, through an int32 field
# with the same tag, it reads the date correctly into time.Time. No error anywhere, and a
# pointer or an optional field does not help.
# Guessed before: the day in UTC.
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

type visit struct {
	Day time.Time `parquet:"day,date"`
}

type pointer struct {
	Day *time.Time `parquet:"day,optional,date"`
}

type number struct {
	Day int32 `parquet:"day,date"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// show writes a row and reads it, as number of days and as time.
func show[T any](what string, row T) {
	var b bytes.Buffer
	must(parquet.Write(&b, []T{row}))
	days, err := parquet.Read[number](bytes.NewReader(b.Bytes()), int64(b.Len()))
	must(err)
	times, err := parquet.Read[visit](bytes.NewReader(b.Bytes()), int64(b.Len()))
	must(err)
	fmt.Println(what, days[0].Day, times[0].Day.Format(time.DateOnly))
}

func main() {
	day := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	fmt.Println("column", parquet.SchemaOf(visit{}).Fields()[0])
	fmt.Println("low bits", int32(day.UnixNano()))
	show("time", visit{day})
	show("pointer", pointer{&day})
	show("int32", number{int32(day.Unix() / 86400)})
}
GO
go mod init finding 2>/dev/null
go get github.com/parquet-go/parquet-go@v0.32.0 2>got || { cat got >&2; exit 1; }
go run . >seen
cat >want <<'EOF'
column required int32 (DATE);
low bits -1428881408
time -1428881408 -3910175-08-01
pointer -1428881408 -3910175-08-01
int32 20635 2026-07-01
EOF
cat seen
diff want seen
