package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// accounts are the configurations of the accounts that a process with this one polls:
// those of the accounts file, or its own where there is none.
func (c *Config) accounts() ([]Config, error) {
	if c.AccountsFile == "" {
		return []Config{*c}, nil
	}
	l := accountsLoader{base: *c}
	return l.load()
}

// who and whoseName are how a log calls what the process polls.
func (c *Config) who() string {
	if c.AccountsFile != "" {
		return "accounts_file"
	}
	return "account"
}

func (c *Config) whoseName() string { return cmp.Or(c.AccountsFile, c.Account) }

// connectionName is how NATS lists the process.
func (c *Config) connectionName() string {
	if c.AccountsFile != "" {
		return "guestflow"
	}
	return "guestflow " + c.Account
}

// needAccounts checks what commands need that ask the platform: of every account.
func (c *Config) needAccounts() error {
	if c.AccountsFile == "" {
		return c.needPlatform()
	}
	_, err := c.accounts()
	return err
}

// accountsLoader reads an accounts file. Its keys are the names of variables, in lower
// case and without GUESTFLOW_; what an account leaves out is as the variables have it.
type accountsLoader struct {
	base  Config
	files []string // read so far, the accounts file first
}

// load returns the accounts in their order. The error names the file, the account and
// the key of all that is wrong, and never shows a secret.
func (l *accountsLoader) load() ([]Config, error) {
	path := l.base.AccountsFile
	l.files = []string{path}
	data, err := handwritten.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("GUESTFLOW_ACCOUNTS_FILE: %w; give the path of an existing file", err)
	}
	configs, err := l.parse(data)
	if err != nil {
		return nil, fmt.Errorf("accounts file %s: %w", path, err)
	}
	return configs, nil
}

func (l *accountsLoader) parse(data []byte) ([]Config, error) {
	text, err := handwritten.Decoded(data)
	if err != nil {
		return nil, err
	}
	doc, err := handwritten.ReadDocument([]byte(text), "accounts")
	if err != nil {
		return nil, err
	}
	var configs []Config
	var errs []error
	items, err := accountItems(doc)
	errs = append(errs, each(err)...)
	lines := map[string]int{}
	limits := map[[2]string]string{}
	for _, item := range items {
		cfg, line, problems := l.account(doc, item)
		if first := lines[cfg.Account]; first > 0 && cfg.Account != "" {
			problems = append(problems, fmt.Errorf("line %d: account %q stands on line %d already; names must be unique", line, cfg.Account, first))
		}
		lines[cfg.Account] = line
		key := [2]string{cfg.APIURL, cfg.APIToken}
		if other := limits[key]; other != "" && len(problems) == 0 {
			problems = append(problems, fmt.Errorf("line %d: account %q: api_token: it is that of account %q, on the same platform: the two would share one limit and go beyond it; make one account of them", line, cfg.Account, other))
		}
		limits[key] = cfg.Account
		if len(problems) == 0 {
			configs = append(configs, cfg)
		}
		errs = append(errs, problems...)
	}
	return configs, errors.Join(errs...)
}

// accountItems are the nodes of the accounts.
func accountItems(doc handwritten.Document) (items []ast.Node, err error) {
	if doc.Root == nil {
		return nil, nil
	}
	top, ok := doc.Members(doc.Root, 0)
	if !ok {
		return nil, fmt.Errorf(`line %d: the file must be a mapping; begin it with "accounts:"`, handwritten.LineOf(doc.Root))
	}
	var errs []error
	seen := map[string]int{}
	for _, m := range top {
		if err := m.Once(seen); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", m.Line, err))
		}
		if m.Name != "accounts" {
			errs = append(errs, fmt.Errorf("line %d: unknown key %q%s", m.Line, m.Name, handwritten.DidYouMean(m.Name, []string{"accounts"})))
			continue
		}
		more, err := doc.List(m.Value)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: accounts: %w", m.Line, err))
		}
		items = append(items, more...)
	}
	return items, errors.Join(errs...)
}

// accountFields are the fields of Config that an account has of its own, by key.
func accountFields() map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Tag.Get("account") != "" {
			fields[accountKey(variable(f))] = f
		}
	}
	return fields
}

// accountKey is how an accounts file calls what a variable sets.
func accountKey(variable string) string {
	return strings.ToLower(strings.TrimPrefix(variable, envPrefix+"_"))
}

// account reads one account, and where it begins.
func (l *accountsLoader) account(doc handwritten.Document, n ast.Node) (cfg Config, line int, problems []error) {
	members, ok := doc.Members(n, 0)
	if !ok {
		return cfg, 0, []error{fmt.Errorf(`line %d: an account must be a mapping; begin it with "account:" and its name`, handwritten.LineOf(n))}
	}
	cfg, line = l.base, handwritten.LineOf(n)
	if len(members) > 0 {
		line = members[0].Line
	}
	cfg.AccountsFile, cfg.Account = "", ""
	lines, fields := map[string]int{}, accountFields()
	for _, m := range members { // the name before all others, since errors tell it
		if m.Name == "account" && cfg.Account == "" {
			cfg.Account, _ = doc.Text(m.Value)
		}
	}
	wrong := func(at int, key string, err error) {
		problems = append(problems, fmt.Errorf("line %d: account %q: %s: %w", at, cfg.Account, key, err))
	}
	for _, m := range members {
		if err := m.Once(lines); err != nil {
			problems = append(problems, fmt.Errorf("line %d: account %q: %w", m.Line, cfg.Account, err))
			continue
		}
		field, known := fields[m.Name]
		if !known {
			problems = append(problems, fmt.Errorf("line %d: account %q: unknown key %q%s", m.Line, cfg.Account, m.Name, handwritten.DidYouMean(m.Name, slices.Sorted(maps.Keys(fields)))))
			continue
		}
		if err := l.value(doc, m, field, reflect.ValueOf(&cfg).Elem().FieldByIndex(field.Index)); err != nil {
			wrong(m.Line, m.Name, err)
		}
	}
	if cfg.Account == "" {
		return cfg, line, append(problems, fmt.Errorf("line %d: an account has no name; write account: and a name of its own, which becomes a token of every subject", line))
	}
	if len(problems) > 0 {
		return cfg, line, problems
	}
	cfg.bareTokens()
	for _, fault := range l.faults(&cfg) {
		key, rest, _ := strings.Cut(fault, " ")
		at := lines[strings.Trim(strings.SplitN(key, "=", 2)[0], ":")]
		problems = append(problems, fmt.Errorf("line %d: account %q: %s %s", max(at, line), cfg.Account, key, rest))
	}
	return cfg, line, problems
}

// variableNames are names of variables within a text.
var variableNames = regexp.MustCompile(envPrefix + `_[A-Z_]+`)

// faults are what is wrong with an account's configuration, and not with the variables
// themselves, in words that call keys what the file calls them.
func (l *accountsLoader) faults(cfg *Config) []string {
	told := map[string]bool{}
	for _, err := range l.base.faults() {
		told[err.Error()] = true
	}
	var texts []string
	for _, err := range append(cfg.faults(), each(cfg.needPlatform())...) {
		if told[err.Error()] {
			continue
		}
		texts = append(texts, inKeys(err.Error()))
	}
	return texts
}

// inKeys calls variables that an account has of its own what an accounts file calls them.
func inKeys(text string) string {
	fields := accountFields()
	return variableNames.ReplaceAllStringFunc(text, func(name string) string {
		if _, own := fields[accountKey(name)]; own {
			return accountKey(name)
		}
		return name
	})
}

// value reads one key. A key without a value is as good as none.
func (l *accountsLoader) value(doc handwritten.Document, m handwritten.Member, field reflect.StructField, into reflect.Value) error {
	if handwritten.Absent(m.Value) {
		return nil
	}
	if into.Kind() == reflect.Slice {
		texts, err := doc.Texts(m.Value)
		if err != nil {
			return err
		}
		into.Set(reflect.ValueOf(trimmed(texts)))
		return nil
	}
	text, err := doc.Text(m.Value)
	if err == nil && field.Tag.Get("secret") != "" {
		text, err = handwritten.Referred(text, os.LookupEnv, l.read)
	}
	if err != nil {
		return err
	}
	if field.Tag.Get("account") == "path" && text != "" {
		text = l.path(text)
	}
	if err := set(into, field, m.Name, text); err != nil {
		return fmt.Errorf("%q: use %s (%s)", text, typeName(field.Type), field.Tag.Get("desc"))
	}
	return nil
}

// path counts a relative path from the folder of the accounts file.
func (l *accountsLoader) path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(l.base.AccountsFile), path)
}

func (l *accountsLoader) read(path string) ([]byte, error) {
	path = l.path(path)
	l.files = append(l.files, path)
	return handwritten.ReadFile(path)
}
