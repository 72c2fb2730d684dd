package main

import (
	"testing"
	"time"
)

// TestOnlyWhoLooksLetsTimeDecide: a visit ends by the looks of the process that polls the
// account, and not by the clock of one that does not see whether the platform answers.
func TestOnlyWhoLooksLetsTimeDecide(t *testing.T) {
	a := &app{fleet: &fleet{members: []*member{{cfg: Config{Account: "elsewhere"}}}}}
	if at := a.lookedAt("elsewhere"); at.IsZero() || time.Since(at) < 365*24*time.Hour {
		t.Errorf("an account that another process polls was looked at until %v", at)
	}
	if at := a.lookedAt("gone"); !at.IsZero() {
		t.Errorf("one that has left the file was looked at until %v", at)
	}
}
