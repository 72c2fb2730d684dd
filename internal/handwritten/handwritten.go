// Package handwritten reads what people and programs write into files and variables by
// themselves: it drops what is certainly not meant, and says what is suspicious.
package handwritten

import (
	"bytes"
	"errors"
	"strings"
	"unicode"
)

// byteOrderMark is put before a text by some editors and shells.
const byteOrderMark = "\ufeff"

// Decoded returns the text of a file or variable without a byte order mark.
func Decoded(data []byte) (string, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return "", errors.New("is UTF-16; save it as UTF-8")
	}
	return strings.TrimPrefix(string(data), byteOrderMark), nil
}

// Line returns a value that a person or a program wrote down by itself,
// without the white space round it. The error says what about it cannot be meant,
// and never shows it.
func Line(data []byte) (string, error) {
	text, err := Decoded(data)
	if err != nil {
		return "", err
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("is empty")
	case strings.ContainsAny(text, "\r\n"):
		return "", errors.New("has more than one line; keep the value alone")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }):
		return "", errors.New("has an invisible character; write it anew rather than copy it")
	}
	return text, nil
}

// Unquoted removes a pair of quotation marks round the whole text.
func Unquoted(text string) (inner string, quoted bool) {
	for _, mark := range []string{`"`, `'`} {
		if len(text) >= 2 && strings.HasPrefix(text, mark) && strings.HasSuffix(text, mark) {
			return strings.TrimSpace(text[1 : len(text)-1]), true
		}
	}
	return text, false
}
