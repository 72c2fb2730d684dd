package main

import (
	"strings"
	"testing"
)

// TestPlanSaysWhatItsExpectationHoldsFor: no forecast is made of a list without order.
func TestPlanSaysWhatItsExpectationHoldsFor(t *testing.T) {
	for order, told := range map[string]bool{"none": true, "newest first": false, "learning": false} {
		var out strings.Builder
		if err := (livePlan{Order: order, Starts: changePlan{ExpectedMean: 1.7, MeasuredP50: 15.8}}).write(&out, 10); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "\nWhat is expected holds for a list that is sorted by start. This one is not, so go by what is measured.\n") != told {
			t.Errorf("order %s:\n%s", order, out.String())
		}
	}
}
