// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// TestCodesListsEveryConstant reads errors.go, because nothing else knows which constants there are.
func TestCodesListsEveryConstant(t *testing.T) {
	var names []string
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		if group, ok := decl.(*ast.GenDecl); ok && group.Tok == token.CONST {
			for _, spec := range group.Specs {
				names = append(names, spec.(*ast.ValueSpec).Names[0].Name)
			}
		}
	}
	if len(names) != len(Codes) {
		t.Fatalf("%d constants, %d entries in Codes", len(names), len(Codes))
	}
	for i, c := range Codes {
		if c.Code != uint(100+i) || "Code"+c.Name != names[i] {
			t.Errorf("Codes[%d] is %d %s, want %d %s", i, c.Code, c.Name, 100+i, names[i])
		}
		if c.Meaning == "" || c.Remedy == "" {
			t.Errorf("code %d has no meaning or no remedy", c.Code)
		}
	}
}

func TestWrap(t *testing.T) {
	if err := Wrap(CodeKernel, nil); err != nil {
		t.Errorf("Wrap of nil = %v", err)
	}
	cause := fmt.Errorf("add route: %w", errors.New("no such device"))
	var coded *types.Error
	if !errors.As(Wrap(CodeKernel, cause), &coded) || coded.Code != CodeKernel || coded.Msg != cause.Error() || coded.Details == "" {
		t.Errorf("Wrap gave %+v, want the code, the text and the remedy", coded)
	}
	if !errors.As(Wrap(types.ErrIOFailure, cause), &coded) || coded.Code != types.ErrIOFailure || coded.Details != "" {
		t.Errorf("Wrap with a code of CNI's gave %+v, want no details", coded)
	}
	wrapped := fmt.Errorf("allocate: %w", Wrap(CodeNoPool, cause))
	if got := Wrap(CodeKernel, wrapped); got != wrapped || !strings.Contains(got.Error(), "allocate") {
		t.Errorf("Wrap changed a coded error to %v", got)
	}
}
