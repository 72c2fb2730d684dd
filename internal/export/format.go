package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Format is that of the file.
type Format string

const (
	// CSV has a line of names, then a line a row; times are RFC 3339 in UTC, and what is
	// not known is empty.
	CSV Format = "csv"
	// Parquet has the report in its metadata, by the names of its JSON after "guestflow.".
	Parquet Format = "parquet"
)

// sink writes rows of a struct type whose fields have parquet tags.
type sink[T any] interface {
	write(rows []T) error
	close(Report) error
}

func open[T any](out io.Writer, f Format) (sink[T], error) {
	switch f {
	case CSV:
		return openCSV[T](out)
	case Parquet:
		// Row groups of 128Ki rows keep the memory of a long table bounded.
		return &parquetSink[T]{parquet.NewGenericWriter[T](out, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(128<<10),
			parquet.CreatedBy("guestflow", "", ""))}, nil
	}
	return nil, fmt.Errorf("format %q: use %s or %s", f, CSV, Parquet)
}

type parquetSink[T any] struct{ w *parquet.GenericWriter[T] }

func (s *parquetSink[T]) write(rows []T) error {
	_, err := s.w.Write(rows)
	return err
}

func (s *parquetSink[T]) close(r Report) error {
	for key, value := range r.metadata() {
		s.w.SetKeyValueMetadata("guestflow."+key, value)
	}
	return s.w.Close()
}

// metadata are the parts of a report that belong to the file.
func (r *Report) metadata() map[string]string {
	m := map[string]string{
		"table": r.Table, "rows": strconv.FormatInt(r.Rows, 10),
		"after": strconv.FormatUint(r.After, 10), "last_sequence": strconv.FormatUint(r.LastSequence, 10),
	}
	if !r.CompleteUntil.IsZero() {
		m["complete_until"] = r.CompleteUntil.Format(time.RFC3339Nano)
	}
	if r.K > 1 {
		m["k"], m["left_out"] = strconv.Itoa(r.K), strconv.FormatInt(r.LeftOut, 10)
	}
	return m
}

// csvSink writes the columns that the parquet tags name.
type csvSink[T any] struct {
	w       *csv.Writer
	columns []column
	line    []string
}

// column is a field of a row, and how its values are written.
type column struct {
	index    int
	time     bool // microseconds since 1970
	optional bool // zero is not known
}

func openCSV[T any](out io.Writer) (*csvSink[T], error) {
	s := &csvSink[T]{w: csv.NewWriter(out)}
	of := reflect.TypeFor[T]()
	for i := range of.NumField() {
		name, options, _ := strings.Cut(of.Field(i).Tag.Get("parquet"), ",")
		s.columns = append(s.columns, column{i, strings.Contains(options, "timestamp"), strings.Contains(options, "optional")})
		s.line = append(s.line, name)
	}
	return s, s.w.Write(s.line)
}

func (s *csvSink[T]) write(rows []T) error {
	for i := range rows {
		row := reflect.ValueOf(&rows[i]).Elem()
		for n, c := range s.columns {
			s.line[n] = c.text(row.Field(c.index))
		}
		if err := s.w.Write(s.line); err != nil {
			return err
		}
	}
	return nil
}

func (c *column) text(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	} else if c.optional && v.IsZero() {
		return ""
	}
	switch {
	case c.time:
		return time.UnixMicro(v.Int()).UTC().Format(time.RFC3339Nano)
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return strconv.FormatInt(v.Int(), 10)
}

func (s *csvSink[T]) close(Report) error {
	s.w.Flush()
	return s.w.Error()
}

// micros is a time in a column; 0, which is null, where there is none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
