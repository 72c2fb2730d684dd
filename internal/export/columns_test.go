package export

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// TestColumnsAreDocumented, each in its place, with its type.
func TestColumnsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "export.md"))
	if err != nil {
		t.Fatal(err)
	}
	for heading, schema := range map[string]*parquet.Schema{
		"## sessions\n": parquet.SchemaOf(Session{}), "## visits\n": parquet.SchemaOf(Visit{}), "## occupancy\n": parquet.SchemaOf(Hour{}),
		"## Sessions and visits with `--k`\n": parquet.SchemaOf(Anonymous{}),
	} {
		_, part, found := strings.Cut(string(text), heading)
		if !found {
			t.Errorf("there is no %s", heading)
		}
		part, _, _ = strings.Cut(part, "\n## ")
		var told, want []string
		for line := range strings.Lines(part) {
			if cells := strings.Split(line, "|"); len(cells) == 6 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
				told = append(told, strings.Join([]string{strings.Trim(cells[1], " `"), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}, " "))
			}
		}
		for _, f := range schema.Fields() {
			null := ""
			if f.Optional() {
				null = "yes"
			}
			want = append(want, strings.Join([]string{f.Name(), typeOf(f), null}, " "))
		}
		if !slices.Equal(told, want) {
			t.Errorf("%s has\n%s, want\n%s", heading, strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
	}
}

func typeOf(f parquet.Field) string {
	if logical := f.Type().LogicalType(); logical != nil {
		switch logical.Value.(type) {
		case *format.TimestampType:
			return "time"
		case *format.StringType:
			return "text"
		}
	}
	return map[parquet.Kind]string{parquet.Int64: "int64", parquet.Double: "float64", parquet.Boolean: "bool"}[f.Type().Kind()]
}
