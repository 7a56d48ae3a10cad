// SPDX-License-Identifier: Apache-2.0

// Package listing shows what the store holds.
package listing

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"flock.fritzlab.net/flock/internal/store"
)

// List is the allocations of a store, and the damaged files that lie beside it.
type List struct {
	Allocations []store.Allocation `json:"allocations"`
	// Damaged are the paths of stores that were found damaged and kept.
	Damaged []string `json:"damaged"`
}

// Read reads the store of a state folder and changes nothing. A damaged store is an error.
func Read(stateDir string) (List, error) {
	s := store.Store{Dir: stateDir, ReadOnly: true}
	list := List{Allocations: []store.Allocation{}, Damaged: []string{}}
	damaged, err := s.Damaged()
	if err != nil {
		return List{}, err
	}
	list.Damaged = append(list.Damaged, damaged...)
	err = s.View(func(tx *store.Tx) error {
		return tx.All(func(alloc store.Allocation) error {
			list.Allocations = append(list.Allocations, alloc)
			return nil
		})
	})
	if err != nil {
		return List{}, fmt.Errorf("list allocations: %w", err)
	}
	slices.SortFunc(list.Allocations, func(a, b store.Allocation) int {
		return strings.Compare(sortKey(a), sortKey(b))
	})
	return list, nil
}

// sortKey puts a pod's attachments side by side.
func sortKey(a store.Allocation) string { return a.Pod.String() + " " + a.Attachment.String() }

// WriteJSON writes the list with everything that the store knows.
func (l List) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(l)
}

// WriteTable writes one line an allocation, for people; ages are as of now.
func (l List) WriteTable(w io.Writer, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POD\tNETWORK\tCONTAINER\tINTERFACE\tSTATE\tAGE\tADDRESSES\tANYCAST")
	for _, a := range l.Allocations {
		fmt.Fprintf(table, "%s\t%s\t%.12s\t%s\t%s\t%s\t%s\t%s\n", orDash(a.Pod.String()), orDash(a.Attachment.Network),
			orDash(a.Attachment.ContainerID), orDash(a.Attachment.IfName), a.State, age(a.Allocated, now), join(a.Addresses), join(a.Anycast))
	}
	return table.Flush()
}

// WriteWarnings writes what an operator should look at, if there is anything.
func (l List) WriteWarnings(w io.Writer) {
	for _, path := range l.Damaged {
		fmt.Fprintf(w, "warning: a damaged store was kept as %s; look at what damaged it, then remove it\n", path)
	}
}

// orDash also keeps what a runtime called its pod from the terminal's control characters.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

func join(addrs []netip.Addr) string {
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return orDash(strings.Join(texts, ","))
}

// age is rounded to its largest unit. A time that nobody knows, or in the future, has none.
func age(since, now time.Time) string {
	d := now.Sub(since)
	switch {
	case since.IsZero() || d < 0:
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
