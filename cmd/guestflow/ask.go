package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func healthCommand() *cobra.Command {
	var ready bool
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask whether the running guestflow lives, for images without a shell",
		Long: `Asks the guestflow that runs with this configuration, over HTTP, whether it lives
(/healthz), or with --ready whether it does its job (/readyz), and prints what it
says. Exit code 1 where it does not, or does not answer within 10 s.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd)
			if err != nil {
				return err
			}
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			text, err := askRunning(cmd.Context(), cfg, http.MethodGet, path, "")
			if err != nil {
				return fmt.Errorf("health: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
	c.Flags().BoolVar(&ready, "ready", false, "ask whether it does its job")
	return c
}

// askRunning sends one request to the guestflow that runs with cfg, and returns
// what it answers. The error is what it refuses with.
func askRunning(ctx context.Context, cfg Config, method, path, body string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := requestRunning(ctx, cfg, method, path, body)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	address := answer.Request.URL.Redacted()
	b, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	text := strings.Join(lines, "\n")
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", address, answer.Status, text)
	}
	return text, nil
}

// requestRunning sends one request to the guestflow that runs with cfg; the caller
// closes the answer's body.
func requestRunning(ctx context.Context, cfg Config, method, path, body string) (*http.Response, error) {
	address, err := cfg.ownURL(path)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if cfg.OccupancyToken != "" {
		request.Header.Set("Authorization", "Bearer "+cfg.OccupancyToken)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no guestflow answers: %w; start it, or set GUESTFLOW_HTTP_ADDR as it has it", err)
	}
	return answer, nil
}

// ofAccount is the part of a URL that names an account; empty for the only one.
func ofAccount(name string) string {
	if name == "" {
		return ""
	}
	return "?account=" + url.QueryEscape(name)
}

// ownURL is where the guestflow that runs with this configuration, on this machine,
// is asked.
func (c *Config) ownURL(path string) (string, error) {
	if c.HTTPAddr == "-" {
		return "", errors.New("GUESTFLOW_HTTP_ADDR is -, so a running guestflow cannot be asked; set it")
	}
	host, port, err := net.SplitHostPort(c.HTTPAddr)
	if err != nil {
		return "", usageError("GUESTFLOW_HTTP_ADDR: " + err.Error())
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + path, nil
}
