// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakers"
)

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if r.Speaker.Error != "" {
		fmt.Fprintf(t, "%s does not answer: %s\n\n", speakers.Title(r.Speaker.Name), r.Speaker.Error)
	} else {
		fmt.Fprintf(t, "%s, router ID %s\n\n", r.Speaker.Version, r.Speaker.RouterID)
	}
	fmt.Fprintln(t, "PEER\tADDRESS\tAS\tSTATE\tSINCE\tRECEIVED\tEXPORTED\tLAST ERROR")
	for _, s := range r.Sessions {
		address, since := "-", "-"
		if s.Address.IsValid() {
			address = s.Address.String()
		}
		if !s.Since.IsZero() {
			since = s.Since.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%d\t%d\t%s\n",
			s.Peer, address, s.ASN, s.State, since, s.Received, s.Exported, cmp.Or(s.LastError, "-"))
	}
	fmt.Fprintln(t, "\nSUMMARY\tMAIN TABLE\tANNOUNCED\tSENT TO")
	for _, s := range r.Summaries {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Prefix, cmp.Or(s.Main, "missing"), yesNo(s.Announced), cmp.Or(strings.Join(s.SentTo, ", "), "nobody"))
	}
	fmt.Fprintln(t, "\nADDRESS\tKIND\tANNOUNCED\tLINKS\tPODS")
	for _, a := range r.Addresses {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", a.Address, a.Kind(), yesNo(a.Announced), list(a.Links), list(a.Pods))
	}
	for i, p := range r.Problems {
		if i == 0 {
			fmt.Fprintln(t, "\nPROBLEM\tSINCE\tTEXT")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", p.Area, p.Since.Format("2006-01-02 15:04:05Z07:00"), p.Text)
	}
	return t.Flush()
}

func list(names []string) string { return cmp.Or(strings.Join(names, ", "), "-") }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Kind returns "anycast" or "unicast".
func (a Address) Kind() string {
	if a.Anycast {
		return "anycast"
	}
	return "unicast"
}
