package main

import (
	"archive/zip"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// bundleMost bounds each part of a bundle, in bytes.
const bundleMost = 16 << 20

// writeBundle writes what a support case needs into a new file: version, configuration,
// what check said, and what the running guestflow and the state files tell. Nothing of it
// is a secret or says who a guest is.
func writeBundle(ctx context.Context, cfg Config, checked, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("bundle: %w; name a file that is not there yet", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	b := bundle{zip: zip.NewWriter(f), hide: newHider(cfg)}
	b.add("version.txt", versionText(), nil)
	b.add("check.txt", checked, nil)
	b.add("config.txt", setVariables(cfg), nil)
	for _, name := range []string{"readyz", "metrics"} {
		text, err := askedForBundle(ctx, cfg, "/"+name)
		b.add(name+".txt", text, err)
	}
	accounts, err := cfg.accounts()
	if err != nil {
		b.add("accounts.txt", "", err)
	}
	for _, one := range accounts {
		named := ""
		if cfg.AccountsFile != "" {
			named = one.Account
		}
		plan, err := askedForBundle(ctx, cfg, "/plan"+ofAccount(named))
		b.add(filepath.Base(one.statePath())+".plan.json", plan, err)
		s := stateFile{cfg: cfg, account: named, path: one.statePath()}
		report, err := s.inspect(ctx, false)
		text, _ := json.MarshalIndent(report, "", "  ")
		b.add(filepath.Base(one.statePath())+".json", string(text), err)
	}
	return errors.Join(b.failed, b.zip.Close())
}

// bundle is an archive in the making.
type bundle struct {
	zip    *zip.Writer
	hide   hider
	failed error
}

// add writes a part, or why there is none.
func (b *bundle) add(name, text string, err error) {
	if err != nil {
		text = "not to be had: " + err.Error() + "\n" + text
	}
	w, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Now()})
	if err == nil {
		_, err = io.WriteString(w, b.hide.in(text))
	}
	b.failed = errors.Join(b.failed, err)
}

// askedForBundle is what the running guestflow answers, whether all is well or not.
func askedForBundle(ctx context.Context, cfg Config, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := requestRunning(ctx, cfg, http.MethodGet, path, "")
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, bundleMost))
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(answer.Status))
	}
	return string(text), err
}

// setVariables lists every variable that is not as by default; of secrets, that they
// are set.
func setVariables(cfg Config) string {
	var lines strings.Builder
	values := reflect.ValueOf(cfg)
	for _, f := range reflect.VisibleFields(values.Type()) {
		value := fmt.Sprint(values.FieldByIndex(f.Index).Interface())
		switch {
		case values.FieldByIndex(f.Index).IsZero() || value == f.Tag.Get("default"):
			continue
		case f.Tag.Get("secret") != "":
			value = hidden
		}
		fmt.Fprintf(&lines, "%s=%s\n", variable(f), value)
	}
	return lines.String()
}

// hidden stands for what a bundle does not tell.
const hidden = "[hidden]"

// hider takes secrets, and what says who a guest is, out of texts.
type hider struct{ secrets []string }

// newHider knows the secrets of a configuration and of its accounts, as they are and as
// URLs have them.
func newHider(cfg Config) hider {
	var h hider
	accounts, _ := cfg.accounts() // of a file that cannot be used nothing is told
	for _, c := range append(accounts, cfg) {
		values := reflect.ValueOf(c)
		for _, f := range reflect.VisibleFields(values.Type()) {
			if f.Tag.Get("secret") == "" || f.Type.Kind() != reflect.String {
				continue
			}
			if secret := values.FieldByIndex(f.Index).String(); len(secret) > 1 { // "-" is none
				h.secrets = append(h.secrets, secret, url.QueryEscape(secret), url.PathEscape(secret))
			}
		}
	}
	// The longer ones first: one may be a part of another.
	slices.SortFunc(h.secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	h.secrets = slices.Compact(h.secrets)
	return h
}

var (
	userOfURL = regexp.MustCompile(`://[^/\s@"']+@`)
	mail      = regexp.MustCompile(`[\w.+%-]+@[\w-]+(\.[\w-]+)+`)
	mac       = regexp.MustCompile(`\b[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\b`)
	address4  = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`)
	address6  = regexp.MustCompile(`(?i)\b[0-9a-f]{1,4}:[0-9a-f:.]*:[0-9a-f.]*`)
)

func (h *hider) in(text string) string {
	for _, secret := range h.secrets {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	text = userOfURL.ReplaceAllString(text, "://"+hidden+"@")
	for _, people := range []*regexp.Regexp{mail, mac} {
		text = people.ReplaceAllString(text, hidden)
	}
	for _, addresses := range []*regexp.Regexp{address4, address6} {
		text = addresses.ReplaceAllStringFunc(text, func(found string) string {
			ip, err := netip.ParseAddr(found)
			if err != nil || ip.IsLoopback() || ip.IsUnspecified() {
				return found
			}
			return hidden
		})
	}
	return text
}
