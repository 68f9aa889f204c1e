package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Determinism refuses, in core and vtl, what would let a run depend on anything
// but its seed: tasks, waiting, the clock and randomness come from core/rt.
//
// Ranging over a map is accepted where the order cannot show: the body only
// gathers into a slice that the function then sorts, or writes to a map, deletes
// from one, or adds up integers. Else sort the keys first, or say why the order
// does not matter in a comment on the line or the one before:
//
//	//capstan:unordered each element is sent to its own queue
var Determinism = &analysis.Analyzer{
	Name: "determinism",
	Doc:  "core and vtl use no goroutines, channels, clocks, global randomness, or the order of maps",
	Run:  runDeterminism,
}

// refused are functions and variables by package; the text says what to do.
var refused = map[string]map[string]string{
	"time": names("use the clock and timers of core/rt", "Now", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
		"Since", "Until", "Local"),
	"context": names("use the contexts of core/rt", "WithCancel", "WithCancelCause", "WithTimeout", "WithTimeoutCause",
		"WithDeadline", "WithDeadlineCause", "AfterFunc"),
	"reflect": names("its order is random", "Value.MapRange", "Value.MapKeys"),
}

// refusedPackages may not be imported at all.
var refusedPackages = map[string]string{
	"sync":         "use the primitives of core/rt",
	"sync/atomic":  "use the primitives of core/rt",
	"crypto/rand":  "use rt.Rand",
	"hash/maphash": "its seed is random: use hash/fnv or hash/crc32",
}

// randConstructors are what math/rand gives that is no global source.
var randConstructors = []string{"New", "NewSource", "NewPCG", "NewChaCha8", "NewZipf"}

func names(advice string, all ...string) map[string]string {
	m := map[string]string{}
	for _, n := range all {
		m[n] = advice
	}
	return m
}

func runDeterminism(pass *analysis.Pass) (any, error) {
	if !worldFree(strings.TrimSuffix(pass.Pkg.Path(), "_test")) {
		return nil, nil
	}
	for _, f := range files(pass) {
		c := &determinism{Pass: pass, file: f, unordered: unorderedLines(pass, f)}
		for _, spec := range f.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if advice, bad := refusedPackages[path]; bad {
				c.Reportf(spec.Pos(), "package %s may not be used here: %s", path, advice)
			}
		}
		var stack []ast.Node
		ast.Inspect(f, func(n ast.Node) bool {
			if n == nil {
				stack = stack[:len(stack)-1]
				return true
			}
			c.node(n, stack)
			stack = append(stack, n)
			return true
		})
	}
	return nil, nil
}

// determinism checks one file.
type determinism struct {
	*analysis.Pass
	file      *ast.File
	unordered map[int]bool // lines that a //capstan:unordered comment speaks for
}

// unorderedLines are the lines of the comments, and those after them.
func unorderedLines(pass *analysis.Pass, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, g := range f.Comments {
		for _, c := range g.List {
			why, found := strings.CutPrefix(c.Text, "//capstan:unordered")
			if !found {
				continue
			}
			if strings.TrimSpace(why) == "" {
				pass.Reportf(c.Pos(), "//capstan:unordered needs a reason: say why the order does not matter")
				continue
			}
			line := pass.Fset.Position(c.Pos()).Line
			lines[line], lines[line+1] = true, true
		}
	}
	return lines
}

func (c *determinism) node(n ast.Node, stack []ast.Node) {
	const channels = "channels may not be used here: use the queues and events of core/rt"
	switch n := n.(type) {
	case *ast.GoStmt:
		c.Reportf(n.Pos(), "the go statement may not be used here: use rt.Go")
	case *ast.SelectStmt:
		c.Reportf(n.Pos(), "select may not be used here: use the primitives of core/rt")
	case *ast.SendStmt:
		c.Reportf(n.Pos(), channels)
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			c.Reportf(n.Pos(), channels)
		}
	case *ast.CallExpr:
		c.call(n, stack)
	case *ast.RangeStmt:
		switch c.under(n.X).(type) {
		case *types.Chan:
			c.Reportf(n.Pos(), channels)
		case *types.Map:
			c.mapRange(n, stack)
		}
	case *ast.Ident:
		c.use(n)
	case *ast.AssignStmt:
		for _, lhs := range n.Lhs {
			c.written(lhs, stack)
		}
	case *ast.IncDecStmt:
		c.written(n.X, stack)
	}
}

func (c *determinism) under(e ast.Expr) types.Type {
	t := c.TypesInfo.TypeOf(e)
	if t == nil {
		return nil
	}
	return t.Underlying()
}

// builtin is the name of the built-in function that e calls, or "".
func (c *determinism) builtin(e *ast.CallExpr) string {
	if id, ok := ast.Unparen(e.Fun).(*ast.Ident); ok {
		if b, ok := c.TypesInfo.Uses[id].(*types.Builtin); ok {
			return b.Name()
		}
	}
	return ""
}

func (c *determinism) call(e *ast.CallExpr, stack []ast.Node) {
	switch c.builtin(e) {
	case "close":
		c.Reportf(e.Pos(), "channels may not be used here: use the queues and events of core/rt")
	case "make":
		if _, isChan := c.under(e.Args[0]).(*types.Chan); isChan {
			c.Reportf(e.Pos(), "channels may not be made here: use the queues and events of core/rt")
		}
	case "recover":
		c.Reportf(e.Pos(), "recover may not be used here: a panic ends its process, in both worlds")
	}
	pkg, name := c.callee(e)
	if pkg != "maps" || !slices.Contains([]string{"Keys", "Values", "All"}, name) {
		return
	}
	if outer, ok := stack[len(stack)-1].(*ast.CallExpr); ok {
		pkg, outerName := c.callee(outer)
		if pkg == "slices" && strings.HasPrefix(outerName, "Sorted") || pkg == "maps" {
			return
		}
	}
	if !c.unordered[c.Fset.Position(e.Pos()).Line] {
		c.Reportf(e.Pos(), "the order of maps.%s is random: wrap it in slices.Sorted, or explain with //capstan:unordered", name)
	}
}

// callee is the package and name of the function that e calls, if it is one of a package.
func (c *determinism) callee(e *ast.CallExpr) (pkg, name string) {
	fun := ast.Unparen(e.Fun)
	if x, ok := fun.(*ast.IndexExpr); ok {
		fun = x.X
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	f, ok := c.TypesInfo.Uses[sel.Sel].(*types.Func)
	if !ok || f.Pkg() == nil || f.Signature().Recv() != nil {
		return "", ""
	}
	return f.Pkg().Path(), f.Name()
}

// use checks the use of a name that another package declares.
func (c *determinism) use(id *ast.Ident) {
	obj := c.TypesInfo.Uses[id]
	if obj == nil || obj.Pkg() == nil {
		return
	}
	pkg, name := obj.Pkg().Path(), obj.Name()
	f, isFunc := obj.(*types.Func)
	if isFunc && f.Signature().Recv() != nil {
		if named, ok := f.Signature().Recv().Type().(*types.Named); ok {
			name = named.Obj().Name() + "." + name
		} else {
			return
		}
	}
	if v, ok := obj.(*types.Var); ok && v.IsField() {
		return
	}
	if advice, bad := refused[pkg][name]; bad {
		c.Reportf(id.Pos(), "%s.%s may not be used here: %s", obj.Pkg().Name(), name, advice)
	}
	global := isFunc && f.Signature().Recv() == nil && !slices.Contains(randConstructors, name)
	if (pkg == "math/rand" || pkg == "math/rand/v2") && global {
		c.Reportf(id.Pos(), "rand.%s draws from the global source: use rt.Rand", name)
	}
}

// written checks an assignment to e: package variables are set once, at the start.
func (c *determinism) written(e ast.Expr, stack []ast.Node) {
	id := root(c.TypesInfo, e)
	if id == nil {
		return
	}
	v, ok := c.TypesInfo.Uses[id].(*types.Var)
	if !ok || v.Pkg() == nil || v.IsField() || v.Parent() != v.Pkg().Scope() {
		return
	}
	if fn := function(stack); fn != nil && fn.Recv == nil && fn.Name.Name == "init" {
		return
	}
	c.Reportf(e.Pos(), "the package variable %s is written after the start: state belongs to a world, keep it in a struct", v.Name())
}

// root is the variable that an assignable expression is a part of.
func root(info *types.Info, e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok {
				if _, isPkg := info.Uses[id].(*types.PkgName); isPkg {
					return x.Sel
				}
			}
			e = x.X
		default:
			return nil
		}
	}
}

// function is the declaration that encloses the last node of the stack.
func function(stack []ast.Node) *ast.FuncDecl {
	for _, n := range slices.Backward(stack) {
		if fn, ok := n.(*ast.FuncDecl); ok {
			return fn
		}
	}
	return nil
}
