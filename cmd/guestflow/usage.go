package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// plainArguments has what args refuses said in the words of the command's usage line. A
// command with others below it takes an argument for a misspelt one of those.
func plainArguments(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		err := args(c, given)
		if err == nil {
			return nil
		}
		if c.HasSubCommands() {
			return knownCommand(c, given)
		}
		wanted := strings.Fields(c.Use)[1:]
		switch {
		case len(given) < len(wanted):
			return fmt.Errorf("%s is missing", wanted[len(given)])
		case len(given) > len(wanted):
			return fmt.Errorf("%q is one argument too many", given[len(wanted)])
		case len(c.ValidArgs) > 0:
			return fmt.Errorf("%q: use %s", given[0], strings.Join(c.ValidArgs, ", "))
		}
		return err
	}
}

// plainFlag says of a flag's value what is wanted in its place, rather than which
// function could not read it.
func plainFlag(_ *cobra.Command, err error) error {
	var invalid interface {
		GetValue() string
		Unwrap() error
	}
	if !errors.As(err, &invalid) || invalid.Unwrap() == nil {
		return err
	}
	cause, want := invalid.Unwrap(), ""
	var number *strconv.NumError
	switch {
	case errors.As(cause, &number) && errors.Is(number.Err, strconv.ErrRange):
		want = "a smaller number"
	case errors.As(cause, &number):
		want = map[string]string{"ParseBool": "true or false", "ParseFloat": "a number"}[number.Func]
		if want == "" {
			want = "a whole number"
		}
	case strings.HasPrefix(cause.Error(), "time: "):
		want = "a duration such as 15s or 5m"
	default:
		return err
	}
	return fmt.Errorf("%s: use %s", strings.TrimSuffix(err.Error(), ": "+cause.Error()), want)
}

// flagsHaveValues refuses a flag that took another one for its value, as where an unset
// variable stands between the two.
func flagsHaveValues(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			name, _, _ := strings.Cut(strings.TrimPrefix(v, "--"), "=")
			if strings.HasPrefix(v, "--") && c.Flags().Lookup(name) != nil && err == nil {
				err = fmt.Errorf("--%s: its value is missing, since %s follows it", f.Name, v)
			}
		}
	})
	return err
}

// nearest are the known names that go on where name ends; where there are none, those
// that differ from it by two letters at most.
func nearest(name string, known []string) []string {
	longer := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasPrefix(k, name) })
	if len(longer) > 0 {
		return longer
	}
	c := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, k := range known {
		c.AddCommand(&cobra.Command{Use: k, Run: func(*cobra.Command, []string) {}})
	}
	return c.SuggestionsFor(name)
}
