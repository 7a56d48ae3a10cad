// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

const (
	maxFile = 400
	maxFunc = 80
	header  = "// SPDX-License-Identifier: Apache-2.0\n\n"
)

// source is one Go file under examination.
type source struct {
	path     string
	fset     *token.FileSet
	file     *ast.File
	breaches []string
}

func lintGo(path string, content []byte) ([]string, error) {
	s := &source{path: path, fset: token.NewFileSet()}
	var err error
	if s.file, err = parser.ParseFile(s.fset, path, content, parser.ParseComments); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(content, []byte(header)) {
		s.report(s.file.Pos(), "begin with the SPDX line and an empty one")
	}
	if n := bytes.Count(content, []byte("\n")); n > maxFile {
		s.report(s.file.Pos(), "%d lines, more than %d", n, maxFile)
	}
	for _, decl := range s.file.Decls {
		s.lintLength(decl)
		if !s.isTest() && s.file.Name.Name != "main" {
			s.lintDoc(decl)
		}
	}
	ast.Inspect(s.file, s.lintCall)
	return s.breaches, nil
}

func (s *source) report(pos token.Pos, format string, args ...any) {
	s.breaches = append(s.breaches, fmt.Sprintf("%s:%d: ", s.path, s.line(pos))+fmt.Sprintf(format, args...))
}

func (s *source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// inTests tells whether the file serves tests alone.
func (s *source) inTests() bool {
	return s.isTest() || strings.HasPrefix(s.path, "test/") || strings.Contains(s.path, "/cnitest/")
}

func (s *source) lintLength(decl ast.Decl) {
	fn, ok := decl.(*ast.FuncDecl)
	if !ok {
		return
	}
	if n := s.line(fn.End()) - s.line(fn.Pos()) + 1; n > maxFunc {
		s.report(fn.Pos(), "%s has %d lines, more than %d", fn.Name.Name, n, maxFunc)
	}
}

// lintCall finds tests that skip, and sleeps: a program waits for what it waits for, not for time.
func (s *source) lintCall(node ast.Node) bool {
	sel, ok := node.(*ast.SelectorExpr)
	if !ok {
		return true
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return true
	}
	switch name := x.Name + "." + sel.Sel.Name; name {
	case "t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "b.Skipf", "b.SkipNow", "f.Skip", "f.Skipf", "f.SkipNow":
		s.report(node.Pos(), "%s: a test that cannot run fails", name)
	case "time.Sleep":
		if !s.inTests() {
			s.report(node.Pos(), "time.Sleep: wait for the event itself")
		}
	}
	return true
}

// plain are methods that everybody knows.
var plain = map[string]bool{
	"Error": true, "Unwrap": true, "Is": true, "String": true, "Len": true, "Less": true, "Swap": true,
	"MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true, "Close": true,
}

// lintDoc wants a comment at every exported name of an importable package.
func (s *source) lintDoc(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && (d.Recv == nil || !plain[d.Name.Name]) {
			s.report(d.Pos(), "%s is exported and has no comment", d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			s.lintSpec(d, spec)
		}
	}
}

func (s *source) lintSpec(d *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
			s.report(spec.Pos(), "%s is exported and has no comment", spec.Name)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
				s.report(name.Pos(), "%s is exported and has no comment", name)
			}
		}
	}
}

// exportedReceiver tells whether the function's receiver, if it has one, is of an exported type.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	typ := fn.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return true
		}
	}
}
