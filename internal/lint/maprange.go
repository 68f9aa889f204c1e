package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// mapRange accepts a range over a map if the order of the iterations cannot show.
func (c *determinism) mapRange(n *ast.RangeStmt, stack []ast.Node) {
	if c.unordered[c.Fset.Position(n.Pos()).Line] {
		return
	}
	if n.Key == nil { // nothing but the number of iterations is seen
		return
	}
	m := &mapBody{c: c, loop: n}
	if !m.block(n.Body.List) {
		c.Reportf(n.Pos(), "the order of a map is random: sort its keys first, or explain with //capstan:unordered")
		return
	}
	for _, v := range m.gathered {
		if fn := function(stack); fn == nil || !c.sortedAfter(fn, n, v) {
			c.Reportf(n.Pos(), "%s gathers from a map in random order and is not sorted after: sort it, or explain with //capstan:unordered", v.Name())
		}
	}
}

// mapBody looks at the body of a loop over a map.
type mapBody struct {
	c        *determinism
	loop     *ast.RangeStmt
	gathered []types.Object // slices that the body appends to
}

// block tells whether all statements come to the same in any order of iterations.
func (m *mapBody) block(list []ast.Stmt) bool {
	for _, s := range list {
		if !m.stmt(s) {
			return false
		}
	}
	return true
}

func (m *mapBody) stmt(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.BlockStmt:
		return m.block(s.List)
	case *ast.BranchStmt:
		return s.Tok == token.CONTINUE
	case *ast.IncDecStmt:
		return m.integer(s.X)
	case *ast.ExprStmt:
		e, ok := s.X.(*ast.CallExpr)
		return ok && m.c.builtin(e) == "delete" && m.pure(e.Args...)
	case *ast.IfStmt:
		if s.Init != nil && !m.stmt(s.Init) || !m.pure(s.Cond) || !m.block(s.Body.List) {
			return false
		}
		return s.Else == nil || m.stmt(s.Else)
	case *ast.AssignStmt:
		return m.assign(s)
	}
	return false
}

func (m *mapBody) assign(s *ast.AssignStmt) bool {
	switch s.Tok {
	case token.DEFINE:
		return m.pure(s.Rhs...)
	case token.ADD_ASSIGN, token.SUB_ASSIGN, token.OR_ASSIGN, token.AND_ASSIGN, token.XOR_ASSIGN:
		return m.integer(s.Lhs[0]) && m.pure(s.Rhs...)
	case token.ASSIGN:
	default:
		return false
	}
	for _, lhs := range s.Lhs {
		switch x := lhs.(type) {
		case *ast.IndexExpr:
			if _, isMap := m.c.under(x.X).(*types.Map); !isMap {
				return false
			}
		case *ast.Ident:
			if x.Name != "_" && !m.local(x) && !m.appends(x, s) {
				return false
			}
		default:
			return false
		}
	}
	return m.pure(s.Rhs...)
}

// local tells whether a variable is declared in the loop.
func (m *mapBody) local(id *ast.Ident) bool {
	obj := m.c.TypesInfo.ObjectOf(id)
	return obj != nil && obj.Pos() >= m.loop.Pos() && obj.Pos() < m.loop.End()
}

// appends tells whether s is id = append(id, …), and takes note of id.
func (m *mapBody) appends(id *ast.Ident, s *ast.AssignStmt) bool {
	if len(s.Rhs) != 1 {
		return false
	}
	e, ok := s.Rhs[0].(*ast.CallExpr)
	if !ok || m.c.builtin(e) != "append" {
		return false
	}
	first, ok := e.Args[0].(*ast.Ident)
	if !ok || m.c.TypesInfo.ObjectOf(first) != m.c.TypesInfo.ObjectOf(id) {
		return false
	}
	m.gathered = append(m.gathered, m.c.TypesInfo.ObjectOf(id))
	return true
}

func (m *mapBody) integer(e ast.Expr) bool {
	b, ok := m.c.under(e).(*types.Basic)
	return ok && b.Info()&types.IsInteger != 0
}

// pure tells whether expressions call nothing but conversions and built-ins
// without effect.
func (m *mapBody) pure(all ...ast.Expr) bool {
	ok := true
	for _, e := range all {
		ast.Inspect(e, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				ok = false
			case *ast.CallExpr:
				isType := m.c.TypesInfo.Types[n.Fun].IsType()
				ok = ok && (isType || slices.Contains([]string{"len", "cap", "min", "max", "append", "make", "new"}, m.c.builtin(n)))
			}
			return ok
		})
	}
	return ok
}

// sortedAfter tells whether fn, after the loop, hands v to a function of
// packages slices or sort that sorts.
func (c *determinism) sortedAfter(fn *ast.FuncDecl, loop *ast.RangeStmt, v types.Object) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		e, ok := n.(*ast.CallExpr)
		if !ok || e.Pos() < loop.End() || len(e.Args) == 0 {
			return !found
		}
		pkg, name := c.callee(e)
		sorts := pkg == "slices" && strings.HasPrefix(name, "Sort") ||
			pkg == "sort" && slices.Contains([]string{"Slice", "SliceStable", "Strings", "Ints", "Float64s", "Sort", "Stable"}, name)
		if id := root(c.TypesInfo, e.Args[0]); sorts && id != nil && c.TypesInfo.ObjectOf(id) == v {
			found = true
		}
		return !found
	})
	return found
}
