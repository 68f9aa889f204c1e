package lint

import (
	"go/ast"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// PackageComment wants a package comment that a newcomer can start from.
var PackageComment = &analysis.Analyzer{
	Name: "packagecomment",
	Doc:  "every package has a comment that says what it is for",
	Run: func(pass *analysis.Pass) (any, error) {
		all := files(pass)
		for _, f := range all {
			if f.Doc != nil && len(strings.Fields(f.Doc.Text())) >= 5 {
				return nil, nil
			}
		}
		if len(all) > 0 {
			pass.Reportf(all[0].Name.Pos(), "package %s has no package comment: say what it is for, in a sentence at least", pass.Pkg.Name())
		}
		return nil, nil
	},
}

// PackageName refuses names that say nothing.
var PackageName = &analysis.Analyzer{
	Name: "packagename",
	Doc:  "no package is called util, common, helpers or the like",
	Run: func(pass *analysis.Pass) (any, error) {
		name := pass.Pkg.Name()
		for _, empty := range []string{"util", "utils", "common", "helper", "helpers", "misc"} {
			if all := files(pass); strings.HasSuffix(name, empty) && len(all) > 0 {
				pass.Reportf(all[0].Name.Pos(), "package %s is named for nothing: name it for what it provides", name)
				break
			}
		}
		return nil, nil
	},
}

// MaxFunction is the most lines that a function may have.
const MaxFunction = 70

// FunctionLength refuses functions that are too long to be read at once.
var FunctionLength = &analysis.Analyzer{
	Name: "functionlength",
	Doc:  "no function has more than 70 lines",
	Run: func(pass *analysis.Pass) (any, error) {
		for _, f := range files(pass) {
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				lines := pass.Fset.Position(fn.End()).Line - pass.Fset.Position(fn.Type.Pos()).Line + 1
				if lines > MaxFunction {
					pass.Reportf(fn.Name.Pos(), "function %s has %d lines, more than %d: divide it", fn.Name.Name, lines, MaxFunction)
				}
			}
		}
		return nil, nil
	},
}
