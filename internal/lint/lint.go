// Package lint holds the house's rules that a program can check: what the code
// of either world may not use ([Determinism]), which way imports go ([Imports]),
// that packages say what they are ([PackageComment], [PackageName]), and that
// functions stay short ([FunctionLength]).
//
// Each is an analysis.Analyzer. [Run] runs them all over the module; the command
// cmd/capstan-lint prints what it finds, and a test of this package fails on it.
// Test files are not looked at: they may use what the system may not.
package lint

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"
)

// Module is the path of the module whose rules these are.
const Module = "capstan"

// All are the analyzers of the house.
var All = []*analysis.Analyzer{Determinism, Imports, PackageComment, PackageName, FunctionLength}

// Finding is a rule broken at a place.
type Finding struct {
	Position token.Position
	Rule     string // name of the analyzer
	Message  string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s (%s)", f.Position, f.Message, f.Rule)
}

// loadMode takes the types of dependencies from the compiler's export data.
const loadMode = packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedModule |
	packages.NeedExportFile | packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo

// Run runs all analyzers over packages below dir, named as the go command names
// them, and returns what they find in the order of files and lines. A package
// that does not compile is a finding, and is not looked at further.
func Run(dir string, patterns ...string) ([]Finding, error) {
	pkgs, err := packages.Load(&packages.Config{Mode: loadMode, Dir: dir}, patterns...)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", strings.Join(patterns, " "), err)
	}
	var all []Finding
	pkgs = slices.DeleteFunc(pkgs, func(p *packages.Package) bool {
		for _, e := range p.Errors {
			if e.Kind == packages.ListError && len(p.Errors) > 1 {
				continue // the go command's summary of the others
			}
			all = append(all, Finding{token.Position{Filename: e.Pos}, "compile", e.Msg})
		}
		return len(p.Errors) > 0
	})
	graph, err := checker.Analyze(All, pkgs, nil)
	if err != nil {
		return nil, fmt.Errorf("analyzing %s: %w", strings.Join(patterns, " "), err)
	}
	for act := range graph.All() {
		if act.Err != nil {
			return nil, fmt.Errorf("analyzing %s: %w", act.Package.PkgPath, act.Err)
		}
		for _, d := range act.Diagnostics {
			all = append(all, Finding{act.Package.Fset.Position(d.Pos), act.Analyzer.Name, d.Message})
		}
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Position.Filename, b.Position.Filename), cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column), cmp.Compare(a.Message, b.Message))
	})
	return all, nil
}

// area is the top directory of a package of the module: "core" for
// capstan/core/rt; "" for a package that is not the module's.
func area(path string) string {
	rest, ours := strings.CutPrefix(path, Module+"/")
	if !ours {
		return ""
	}
	top, _, _ := strings.Cut(rest, "/")
	return top
}

// within tells whether a package is dir, below the module's root, or in it.
func within(path, dir string) bool {
	dir = Module + "/" + dir
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// worldFree tells whether a package runs in either world, and so may use neither.
func worldFree(path string) bool {
	return (within(path, "core") || within(path, "vtl")) && !within(path, "vtl/iscsi")
}

// files are the pass's files without tests and generated ones.
func files(pass *analysis.Pass) []*ast.File {
	var all []*ast.File
	for _, f := range pass.Files {
		name := pass.Fset.Position(f.FileStart).Filename
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !ast.IsGenerated(f) {
			all = append(all, f)
		}
	}
	return all
}
