package pipeline

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/guestflow/guestflow/poller/platform"
)

// Read reads the account's list in rounds, page by page, until ctx ends, and discards
// it. It bounds what any consumer can read.
func Read(ctx context.Context, api string) error {
	return rounds(ctx, api, func(body io.Reader) (more bool, err error) {
		n, err := io.Copy(io.Discard, body)
		return n > emptyPage, err
	})
}

// emptyPage is more than the body of a page without records has.
const emptyPage = 700

// Decode does that and decodes each page, too.
func Decode(ctx context.Context, api string) error {
	client, err := platform.New(platform.Config{BaseURL: api})
	if err != nil {
		return err
	}
	online := true
	for page := 1; ctx.Err() == nil; page++ {
		got, err := client.Sessions(ctx, platform.Query{Online: &online, PerPage: 100, Page: page})
		if err != nil && ctx.Err() == nil {
			return err
		}
		if !got.More {
			page = 0
		}
	}
	return nil
}

func rounds(ctx context.Context, api string, each func(io.Reader) (more bool, err error)) error {
	for page := 1; ctx.Err() == nil; page++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/sessions?online=true&per_page=100&page=%d", api, page), nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		more, err := each(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if !more {
			page = 0
		}
	}
	return nil
}
