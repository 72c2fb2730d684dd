package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestGenerators runs the usual code generators, and what they made, over real
// events: TypeScript, Python, Java and C# read each and write it back unchanged.
func TestGenerators(t *testing.T) {
	t.Parallel()
	dir := nodeProject(t, "testdata/generators")
	check := filepath.Join(dir, "check")
	schema, document := absolute(t, "schemas/draft-07/events.v1.json"), absolute(t, "asyncapi.yaml")
	quicktype := func(t *testing.T, language, file string, options ...string) {
		t.Helper()
		mkdir(t, filepath.Dir(filepath.Join(check, file)))
		command(t, dir, "node_modules/.bin/quicktype", append([]string{"--quiet", "--src-lang", "schema", "--lang", language,
			"--top-level", "Event", "--out", filepath.Join(check, file), schema}, options...)...)
	}
	modelina := map[string]string{"typescript": "modelina", "python": "guestflow", "java": "java/guestflow", "csharp": "csharp"}
	all := []string{"modelina.mjs", document} // in one process, which takes longest to read what it is made of
	for language, folder := range modelina {
		all = append(all, language, filepath.Join(check, folder))
	}
	command(t, dir, "node", all...)
	for _, folder := range modelina {
		typesPerKind(t, filepath.Join(check, folder))
	}

	t.Run("AsyncAPI's own parser", func(t *testing.T) {
		t.Parallel()
		out := command(t, dir, "node", "parse.mjs", document)
		var got struct {
			Version  string
			Channels int
			Payloads []string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var want []string
		for _, kind := range Kinds() {
			want = append(want, kind.Type())
		}
		if got.Version != "3.0.0" || got.Channels != len(want) || !reflect.DeepEqual(got.Payloads, want) {
			t.Errorf("the parser read %s, want payloads %q", out, want)
		}
	})
	t.Run("TypeScript", func(t *testing.T) {
		t.Parallel()
		quicktype(t, "typescript", "quicktype.ts")
		types := command(t, dir, "node_modules/.bin/json2ts", "--no-additionalProperties", "--bannerComment", typesBanner, schema)
		golden(t, "clients/typescript/src/types.ts", types)
		write(t, filepath.Join(check, "types.ts"), types)
		write(t, filepath.Join(check, "golden.ts"), literals(t))
		command(t, check, filepath.Join(dir, "node_modules/.bin/tsc"), "-p", ".")
		sameEvents(t, 1, check, "node", "out/check.js")
	})
	t.Run("Python", func(t *testing.T) {
		t.Parallel()
		python := interpreter(t)
		quicktype(t, "python", "event.py")
		sameEvents(t, 2, check, python, "check.py")
	})
	t.Run("Java", func(t *testing.T) {
		t.Parallel()
		need(t, "javac", "default-jdk-headless")
		jars := "/usr/share/java/jackson-databind.jar:/usr/share/java/jackson-core.jar:/usr/share/java/jackson-annotations.jar"
		needFile(t, "/usr/share/java/jackson-databind.jar", "libjackson2-databind-java")
		quicktype(t, "java", "io/quicktype/Event.java")
		command(t, check, "javac", "-encoding", "UTF-8", "-cp", jars, "-sourcepath", ".:java", "-d", "classes", "Check.java")
		// Check finds Modelina's by name.
		all, err := filepath.Glob(filepath.Join(check, "java/guestflow/*.java"))
		if err != nil {
			t.Fatal(err)
		}
		command(t, check, "javac", append([]string{"-encoding", "UTF-8", "-cp", jars, "-d", "classes"}, all...)...)
		sameEvents(t, 2, check, "java", "-cp", "classes:"+jars, "Check")
	})
	t.Run("C#", func(t *testing.T) {
		t.Parallel()
		need(t, "mcs", "mono-mcs")
		library := "/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll"
		needFile(t, library, "libnewtonsoft-json5.0-cil")
		quicktype(t, "csharp", "Event.cs", "--csharp-version", "6", "--framework", "NewtonSoft")
		command(t, check, "mcs", "-out:check.exe", "-r:"+library, "Check.cs", "Event.cs")
		sameEvents(t, 1, check, "mono", "check.exe")
	})
}

const typesBanner = "// Made from events/schemas/draft-07/events.v1.json: GUESTFLOW_NODE=1 go test -run TestGenerators ./events -update"

// large are the examples with figures beyond 32 bits and text beyond ASCII.
func large() []Event {
	var all []Event
	for _, kind := range Kinds() {
		e := examples()[kind]
		e.Data.Session.Downloaded = Bytes{Value: 7_340_000_000, Error: 5_000_000}
		e.Data.Session.LocationName = "Café \"Zoë\" \\ ☕\u2028"
		if e.Data.Guest != nil {
			guest := *e.Data.Guest
			guest.Name = "Łukasz O'Ńeill"
			e.Data.Guest = &guest
		}
		e.Data.Observed.Rounding.DownloadedBytes = e.Data.Session.Downloaded.Error
		all = append(all, e.Sealed())
	}
	return all
}

// realEvents are the golden files, then the large ones, one a line.
func realEvents(t *testing.T) [][]byte {
	t.Helper()
	var lines [][]byte
	for _, kind := range Kinds() {
		pretty, err := os.ReadFile(filepath.Join("testdata", string(kind)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var line bytes.Buffer
		if err := json.Compact(&line, pretty); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line.Bytes())
	}
	for _, e := range large() {
		line, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// literals is a TypeScript file that holds each event to its kind's types, of either
// generator.
func literals(t *testing.T) []byte {
	t.Helper()
	var text bytes.Buffer
	fmt.Fprintln(&text, `import type * as types from "./types.js";`)
	for _, kind := range Kinds() {
		name := typeName(kind) + "Event"
		fmt.Fprintf(&text, "import type { %s } from \"./modelina/%s.js\";\n", name, name)
	}
	for i, line := range realEvents(t) {
		name := typeName(Kinds()[i%len(Kinds())]) + "Event"
		fmt.Fprintf(&text, "export const event%d: types.%s = %s;\n", i, name, line)
		fmt.Fprintf(&text, "export const modelina%d: %s = %s;\n", i, name, line)
	}
	return text.Bytes()
}

func typeName(kind Kind) string { return strings.ToUpper(string(kind[:1])) + string(kind[1:]) }

// typesPerKind fails unless the files in the folder are the types of the schema's
// definitions, each with all fields of its own.
func typesPerKind(t *testing.T, folder string) {
	t.Helper()
	var schema struct {
		Definitions map[string]struct {
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(TypesSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	plain := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
	files := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[plain(strings.TrimSuffix(entry.Name(), filepath.Ext(entry.Name())))] = plain(string(text))
	}
	if want := len(schema.Definitions) + 3; len(files) != want { // and the three enumerations
		t.Errorf("%d types in %s, want %d", len(files), folder, want)
	}
	for name, definition := range schema.Definitions {
		for field := range definition.Properties {
			if !strings.Contains(files[plain(name)], plain(field)) {
				t.Errorf("type %s in %s has no field %s", name, folder, field)
			}
		}
	}
}

// sameEvents gives the command all real events, one a line, and fails unless it
// writes each back, times over.
func sameEvents(t *testing.T, times int, dir, name string, args ...string) {
	t.Helper()
	lines := realEvents(t)
	c := exec.CommandContext(t.Context(), name, args...)
	var fault bytes.Buffer
	c.Dir, c.Stdin, c.Stderr = dir, bytes.NewReader(append(bytes.Join(lines, []byte("\n")), '\n')), &fault
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, fault.Bytes())
	}
	d := json.NewDecoder(bytes.NewReader(out))
	d.UseNumber()
	for i := range times * len(lines) {
		var got any
		if err := d.Decode(&got); err != nil {
			t.Fatalf("event %d: %v\n%s%s", i, err, out, fault.Bytes())
		}
		want := document(t, lines[i/times])
		if got = normal(got); !reflect.DeepEqual(got, normal(want)) {
			back, err := json.Marshal(got)
			t.Errorf("event %d came back as\n%s (error %v), want\n%s", i, back, err, lines[i/times])
		}
	}
	if d.More() {
		t.Errorf("more came back than was written: %s", out)
	}
}

// normal takes from a JSON value in what ways the same event may be written: null
// for what is absent, and a time with another offset or number of digits.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		all := map[string]any{}
		for name, value := range v {
			if value != nil {
				all[name] = normal(value)
			}
		}
		return all
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return at.UTC().Format(time.RFC3339Nano)
		}
	}
	return v
}

// interpreter returns a Python 3 that has dateutil, which quicktype's types need.
func interpreter(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), name, "-c", "import dateutil.parser").Run() == nil {
			return name
		}
	}
	t.Skip("needs Python 3 with dateutil: apt-get install python3 python3-dateutil")
	return ""
}

func need(t *testing.T, command, debian string) {
	t.Helper()
	if _, err := exec.LookPath(command); err != nil {
		t.Skipf("needs %s: apt-get install %s", command, debian)
	}
}

func needFile(t *testing.T, path, debian string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s: apt-get install %s", path, debian)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
