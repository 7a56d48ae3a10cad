// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	// unslugged is what GitHub drops from a heading to make its anchor.
	unslugged = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
	fenced    = regexp.MustCompile("(?ms)^```.*?^```")
)

// lintLinks finds links of a document to files and headings that do not exist.
func lintLinks(root, path, text string) []string {
	var breaches []string
	for i, line := range strings.Split(text, "\n") {
		for _, match := range link.FindAllStringSubmatch(line, -1) {
			if why := brokenLink(root, path, match[1]); why != "" {
				breaches = append(breaches, fmt.Sprintf("%s:%d: link to %s: %s", path, i+1, match[1], why))
			}
		}
	}
	return breaches
}

func brokenLink(root, from, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(target, "#")
	path := filepath.Join(root, filepath.Dir(from), file)
	if file == "" {
		path = filepath.Join(root, from)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "there is no such file"
	}
	if anchor == "" || info.IsDir() {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if !anchors(string(text))[anchor] {
		return "there is no such heading"
	}
	return ""
}

func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		slug := unslugged.ReplaceAllString(strings.ToLower(strings.TrimSpace(match[1])), "")
		found[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return found
}
