#!/bin/sh
# Versions: github.com/goccy/go-yaml 1.19.2, gopkg.in/yaml.v3 3.0.1.
# Decoded into a Go string field, a plain scalar that looks like a number is
# not kept by goccy/go-yaml: the number is read and written anew, so that
# 1.10 becomes "1.1", 0123 "83", 12_3 "123", 0x1F "31" and +5 "5" (but 08 and
# 1e3 stay as written). yaml.v3 keeps the text of every one of them. Neither
# reports an error. Into an interface, goccy makes 1e3 a string, yaml.v3 a
# float64.
# Exits non-zero if one of them does otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	goccy "github.com/goccy/go-yaml"
	v3 "gopkg.in/yaml.v3"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	for _, s := range []string{"1.10", "0123", "12_3", "0x1F", "+5", "08", "1e3"} {
		doc := []byte("v: " + s + "\n")
		var a, b struct{ V string }
		must(goccy.Unmarshal(doc, &a))
		must(v3.Unmarshal(doc, &b))
		fmt.Println(s, a.V, b.V)
	}
	var a, b struct{ V any }
	must(goccy.Unmarshal([]byte("v: 1e3\n"), &a))
	must(v3.Unmarshal([]byte("v: 1e3\n"), &b))
	fmt.Printf("any %T %T\n", a.V, b.V)
}
GO
go mod init finding 2>/dev/null
go get github.com/goccy/go-yaml@v1.19.2 gopkg.in/yaml.v3@v3.0.1 2>/dev/null
go run . >seen
cat >want <<'EOF'
1.10 1.1 1.10
0123 83 0123
12_3 123 12_3
0x1F 31 0x1F
+5 5 +5
08 08 08
1e3 1e3 1e3
any string float64
EOF
echo "written, goccy/go-yaml, yaml.v3:"
cat seen
diff want seen
