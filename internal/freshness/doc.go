// Package freshness measures how soon changes are seen: it runs the real
// planner, budgets, paging, diff and proof against the simulated platform under
// virtual time, and compares every committed event with the ground truth.
//
// Records are handed over decoded and states are kept in memory, so that the
// time goes into decisions. It imports the poller and internal/simulator; only
// cmd imports it.
package freshness
