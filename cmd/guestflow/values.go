package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// read returns the values of the variables by name, some also from the files that
// *_FILE names, as container platforms mount them. An empty variable counts
// as unset: compose passes those that its user left out. What is certainly not meant is
// dropped: a byte order mark, white space at the ends, a carriage return, and the
// quotation marks that docker --env-file keeps.
func read(environ []string) (values map[string]string, warnings []string, errs []error) {
	values = make(map[string]string)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name := variable(field)
		raw, _ := lookup(environ, name)
		if !mayBeFile(field) {
			values[name] = unwrapped(raw)
			continue
		}
		value, from, err := fileOr(environ, name, raw)
		if err != nil {
			errs = append(errs, err)
		}
		inner, quoted := handwritten.Unquoted(value)
		switch {
		case !quoted:
			values[name] = value
		case field.Tag.Get("secret") == "verbatim":
			values[name] = value // they may be a part of it
			warnings = append(warnings, from+" is in quotation marks, which count as a part of it: docker --env-file and the like keep them; remove them unless they are meant")
		default:
			values[name] = inner
		}
	}
	return values, warnings, errs
}

// fileOr is the value of a variable that a file may hold, and the variable that it is
// from. The error never shows it.
func fileOr(environ []string, name, raw string) (value, from string, err error) {
	path := pathOf(environ, name+"_FILE")
	if path == "" {
		if strings.TrimSpace(raw) == "" {
			return "", name, nil
		}
		if value, err = handwritten.Line([]byte(raw)); err != nil {
			return "", name, fmt.Errorf("%s %w", name, err)
		}
		return value, name, nil
	}
	from = name + "_FILE"
	if strings.TrimSpace(raw) != "" {
		return strings.TrimSpace(raw), from, fmt.Errorf("%s and %s are both set; keep one", name, from)
	}
	data, err := handwritten.ReadFile(path)
	if err != nil {
		return "", from, fmt.Errorf("%s: %w; name a file that this user may read", from, err)
	}
	if value, err = handwritten.Line(data); err != nil {
		return "", from, fmt.Errorf("%s: %s %w", from, path, err)
	}
	return value, from, nil
}

// unwrapped is the value of a variable without what is round it.
func unwrapped(raw string) string {
	text, _ := handwritten.Decoded([]byte(raw)) // a variable cannot be UTF-16
	text, _ = handwritten.Unquoted(strings.TrimSpace(text))
	return text
}

// pathOf is the value of a variable that names a file.
func pathOf(environ []string, name string) string {
	raw, _ := lookup(environ, name)
	return unwrapped(raw)
}

// bareTokens drops from the tokens what is sent before them: documentation shows
// whole headers. A bearer token with white space within is none, and would only give a
// plain 401.
func (c *Config) bareTokens() (warnings []string) {
	c.APIToken = bare(c.APIToken, c.APIAuthHeader, c.APIAuthScheme)
	c.OccupancyToken = bare(c.OccupancyToken, "Authorization", "Bearer")
	for name, token := range map[string]string{"API_TOKEN": c.APIToken, "OCCUPANCY_TOKEN": c.OccupancyToken} {
		if strings.ContainsAny(token, " \t") && (name != "API_TOKEN" || strings.EqualFold(c.APIAuthScheme, "Bearer")) {
			warnings = append(warnings, envPrefix+"_"+name+" has white space within, which no bearer token has; see whether it is the token alone, and for another scheme than Bearer set GUESTFLOW_API_AUTH_SCHEME")
		}
	}
	return warnings
}

// bare is a token without the header's name and the scheme in front of it.
func bare(token, header, scheme string) string {
	if scheme == "-" {
		return token
	}
	for _, prefix := range []string{header + ":", scheme + " "} {
		if n := len(prefix); len(token) > n && strings.EqualFold(token[:n], prefix) {
			token = strings.TrimSpace(token[n:])
		}
	}
	return token
}
