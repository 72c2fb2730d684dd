package main

import (
	"strings"
	"testing"
)

// TestPlanSaysWhatProvesAnEnd: while starts that changed prove nothing, the plan says no page
// does.
func TestPlanSaysWhatProvesAnEnd(t *testing.T) {
	for _, c := range []struct {
		plan  livePlan
		proof string
	}{
		{livePlan{Order: "newest first"}, "one page proves an end"},
		{livePlan{Order: "newest first", Settling: 240}, "for 240 s yet ends need a location's whole list"},
		{livePlan{Order: "none", Settling: 240}, "ends need a location's whole list"},
	} {
		var out strings.Builder
		if err := c.plan.write(&out, 0); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); !strings.Contains(text, c.proof) || strings.Contains(text, "one page proves") != (c.proof == "one page proves an end") {
			t.Errorf("%+v: the plan does not say %q alone:\n%s", c.plan, c.proof, text)
		}
	}
}
