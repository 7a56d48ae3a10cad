// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// key names one series of measurements.
type key struct {
	Subject  string `json:"subject"`
	Existing int    `json:"existing,omitempty"`
	Parallel int    `json:"parallel"`
	Verb     string `json:"verb"`
}

// series is what was measured of one key. Times are in milliseconds.
type series struct {
	key
	Count int `json:"count"`
	// Failed were tried as well, and are not among the times.
	Failed int     `json:"failed,omitempty"`
	P50    float64 `json:"p50ms"`
	P99    float64 `json:"p99ms"`
}

// limit is a figure that flock promises.
type limit struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	OK    bool    `json:"ok"`
}

// report is everything that a run found.
type report struct {
	Machine string           `json:"machine"`
	Date    time.Time        `json:"date"`
	Seconds float64          `json:"seconds"`
	Plan    plan             `json:"plan"`
	Sizes   map[string]int64 `json:"bytes"`
	Series  []series         `json:"series"`
	Limits  []limit          `json:"limits"`

	raw    map[key][]time.Duration
	failed map[key]int
}

func newReport(p plan) *report {
	return &report{
		Machine: machine(), Date: time.Now().UTC().Truncate(time.Second), Plan: p,
		Sizes: map[string]int64{}, raw: map[key][]time.Duration{}, failed: map[key]int{},
	}
}

func (r *report) note(k key, took time.Duration) { r.raw[k] = append(r.raw[k], took) }

func (r *report) fail(k key) { r.failed[k]++ }

func (r *report) size(program string, bytes int64) { r.Sizes[program] = bytes }

// tries says how often it was measured.
func (s series) tries() string {
	if s.Failed == 0 {
		return fmt.Sprint(s.Count)
	}
	return fmt.Sprintf("%d (%d failed)", s.Count, s.Failed)
}

// percentile returns the value in milliseconds that p percent of the sorted times do not exceed.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return float64(sorted[max(rank, 1)-1]) / float64(time.Millisecond)
}

func (r *report) series(k key) series {
	times := slices.Sorted(slices.Values(r.raw[k]))
	return series{k, len(times), r.failed[k], percentile(times, 50), percentile(times, 99)}
}

func (r *report) p50(k key) float64 { return r.series(k).P50 }

// finish computes what is printed and written.
func (r *report) finish() {
	r.Series, r.Limits = nil, nil
	for k := range r.raw {
		r.Series = append(r.Series, r.series(k))
	}
	slices.SortFunc(r.Series, func(a, b series) int {
		return cmp.Or(cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Parallel, b.Parallel), cmp.Compare(a.Existing, b.Existing), cmp.Compare(a.Subject, b.Subject))
	})
	r.Limits = r.limits()
}

func (r *report) write(path string) error {
	r.finish()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}

func (r *report) missed() int {
	missed := 0
	for _, l := range r.limits() {
		if !l.OK {
			missed++
		}
	}
	return missed
}

// print writes the tables.
func (r *report) print(out io.Writer) {
	r.finish()
	fmt.Fprintf(out, "\n%s, %.0f s\n", r.Machine, r.Seconds)
	for _, parallel := range []int{1, r.Plan.Parallel} {
		if !r.Plan.has(partAttach) {
			break
		}
		for _, existing := range []int{r.Plan.Few, r.Plan.Many} {
			r.printAttaching(out, parallel, existing)
		}
	}
	r.printRest(out)
	if r.Plan.has(partAttach) {
		fmt.Fprint(out, notes)
	}
	if r.Plan.has(partReady) {
		fmt.Fprintf(out, readyNotes, r.Plan.Anycast)
	}
	r.printLimits(out)
}

const notes = `
How it was measured: through libcni, all networks in turn in each round, every network on a host
namespace of its own, every pod in a fresh namespace; flock's store and host-local's files on a tmpfs.
Of the 5,000 existing attachments 10 are real; the others have their record in the network's own
store, a veth and their host routes, but share one namespace for their far ends. A bridge has no more
than 1,023 ports and so no such row. ratio is p50 against ptp IPv4-only of the same table.
`

func (r *report) printAttaching(out io.Writer, parallel, existing int) {
	how := "one at a time"
	if parallel > 1 {
		how = fmt.Sprintf("%d at once", parallel)
	}
	fmt.Fprintf(out, "\n%d existing attachments, %s (ms)\n", existing, how)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tn\tADD p50\tp99\tratio\tDEL p50\tp99\tratio\t")
	for _, n := range networks {
		add := r.series(key{n.name, existing, parallel, "ADD"})
		del := r.series(key{n.name, existing, parallel, "DEL"})
		if add.Count == 0 {
			continue
		}
		ptpAdd, ptpDel := r.p50(key{ptp4Name, existing, parallel, "ADD"}), r.p50(key{ptp4Name, existing, parallel, "DEL"})
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.2f\t%.1f\t%.1f\t%.2f\t\n",
			n.name, add.tries(), add.P50, add.P99, add.P50/ptpAdd, del.P50, del.P99, del.P50/ptpDel)
	}
	w.Flush()
}

func (r *report) printRest(out io.Writer) {
	fmt.Fprintln(out, "\nstart of a program, exec to exit; an address on its way to the router's kernel; look-ups (ms)")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tn\tp50\tp99\tbytes\t")
	for _, s := range r.Series {
		if s.Verb == "ADD" || s.Verb == "DEL" {
			continue
		}
		size := ""
		if n := r.Sizes[s.Subject]; n > 0 {
			size = fmt.Sprint(n)
		}
		fmt.Fprintf(w, "%s %s\t%d\t%.2f\t%.2f\t%s\t\n", s.Verb, s.Subject, s.Count, s.P50, s.P99, size)
	}
	w.Flush()
}

func (r *report) printLimits(out io.Writer) {
	fmt.Fprintln(out, "\nlimits")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range r.Limits {
		verdict := "ok"
		if !l.OK {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%.4g\t≤ %.4g\t%s\n", l.What, l.Value, l.Limit, verdict)
	}
	w.Flush()
}
