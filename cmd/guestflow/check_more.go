package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/guestflow/guestflow/poller/platform"
)

// endpointPaths are where the endpoints are below the base URL.
var endpointPaths = map[platform.Endpoint]string{
	platform.Sessions: "/sessions", platform.Count: "/sessions/count", platform.Locations: "/locations", platform.Guests: "/sessions/{address}",
}

// checkAsked is checkPlatform, and shows what was asked.
func checkAsked(ctx context.Context, cfg Config) (found string, sample platform.Page, err error) {
	found, sample, err = checkPlatform(ctx, cfg)
	if err != nil {
		return "", sample, asked(cfg, err)
	}
	return strings.TrimRight(cfg.APIURL, "/") + ": " + found, sample, nil
}

// asked adds to an error of the platform which address gave it.
func asked(cfg Config, err error) error {
	var fault *platform.Error
	if !errors.As(err, &fault) {
		return err
	}
	return fmt.Errorf("GET %s%s: %w", strings.TrimRight(cfg.APIURL, "/"), endpointPaths[fault.Endpoint], err)
}

// mostLocationPages bounds the requests that looking for locations may take.
const mostLocationPages = 10

// checkLocations looks for the configured locations in the platform's list. One
// that is not there would be polled for ever without a session.
func checkLocations(ctx context.Context, cfg Config) (string, error) {
	client, err := cfg.client(true)
	if err != nil {
		return "", err
	}
	missing := make(map[string]bool)
	for _, id := range cfg.Locations {
		missing[id] = true
	}
	var names []string // of locations whose name was given in place of the id
	for page := 1; ; page++ {
		list, err := client.Locations(ctx, page)
		var fault *platform.Error
		switch {
		case errors.As(err, &fault) && (fault.Kind == platform.NotFound || fault.Kind == platform.Forbidden):
			return "not checked: the platform does not list them", nil
		case err != nil:
			return "", asked(cfg, err)
		}
		for _, l := range list.Locations {
			delete(missing, l.ID)
			if missing[l.Name] {
				names = append(names, fmt.Sprintf("%q is the name of %s", l.Name, l.ID))
			}
		}
		switch {
		case len(missing) == 0:
			return fmt.Sprintf("all %d of GUESTFLOW_LOCATIONS exist", len(cfg.Locations)), nil
		case list.More && page == mostLocationPages:
			return fmt.Sprintf("%d of GUESTFLOW_LOCATIONS are not among the first %d locations; the rest was not read", len(missing), page*platform.MaxPerPage), nil
		case list.More:
			continue
		}
		var ids []string
		for _, id := range cfg.Locations {
			if missing[id] {
				ids = append(ids, fmt.Sprintf("%q", id))
			}
		}
		return "", fmt.Errorf("the platform has no %s (%s): %w", strings.Join(ids, ", "), strings.Join(append(names, "ids are wanted, not names"), "; "), errLocations)
	}
}

var errLocations = errors.New("mend GUESTFLOW_LOCATIONS, or leave it out to watch all")

// checkHTTP finds out whether the HTTP address can be listened on.
func checkHTTP(_ context.Context, cfg Config) (string, error) {
	if cfg.HTTPAddr == "-" {
		return "none is configured", nil
	}
	l, err := net.Listen("tcp", cfg.HTTPAddr)
	if err != nil {
		return "", fmt.Errorf("%w; stop what listens there (a running guestflow?), or set GUESTFLOW_HTTP_ADDR to a free address, or to - for none", err)
	}
	return "free, to listen on " + cfg.HTTPAddr, l.Close()
}

// roomNeeded is what the state must at least be able to grow by.
const roomNeeded = 16 << 20

// checkRoom is checkData, and finds out whether the disk takes anything more.
func checkRoom(ctx context.Context, cfg Config) (string, error) {
	found, err := checkData(ctx, cfg)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(existing(cfg.DataDir), ".check-")
	if err != nil {
		return "", fmt.Errorf("%w; make %s a directory that this user may write, or set GUESTFLOW_DATA_DIR to one", err, cfg.DataDir)
	}
	defer os.Remove(f.Name())
	for written := 0; written < roomNeeded && err == nil; written += 1 << 20 {
		_, err = f.Write(make([]byte, 1<<20))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return "", fmt.Errorf("the disk is full: %w; free at least %s there, or set GUESTFLOW_DATA_DIR to another disk", err, size(roomNeeded))
	}
	return found, err
}

// existing is dir, or the directory that it would be made in.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// shared reports whether endpoints share one limit, where what is left of it looks
// so: earlier requests may have used limits of their own unequally. One request
// more to the sessions tells: between its first and this one, two others would have
// used up a shared limit, too.
func shared(ctx context.Context, client *platform.Client, first int) bool {
	online := true
	again, err := client.Sessions(ctx, platform.Query{Online: &online, PerPage: 1, Page: 1})
	return err == nil && again.Remaining >= 0 && first-again.Remaining >= 3
}
