package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

const (
	// envMutant is the number of the mutant that is switched on.
	envMutant = "IDEM_MUTANT"

	// envReached is a file for the numbers of those that a test reaches.
	envReached = "IDEM_MUTANT_REACHED"
)

// site is a place in the source where a general mutant changes something.
type site struct {
	id     int // the mutant's, from 1
	file   string
	line   int
	change string // for people
}

// String is the mutant for people.
func (m site) String() string { return fmt.Sprintf("%s:%d: %s", m.file, m.line, m.change) }

// switches builds one program with many mutants, each of which an environment variable switches on.
type switches struct {
	sites []site
	skip  map[string]bool // mutants of former builds that do not compile, by file and line
}

// edit replaces the length bytes at an offset.
type edit struct {
	offset, length int
	text           string
}

// switched is a file on its way to one with switches.
type switched struct {
	*switches

	name   string
	source []byte
	tokens *token.File
	edits  []edit
}

// file returns a source file with the switches, on the same lines.
func (s *switches) file(name string, source []byte) ([]byte, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &switched{switches: s, name: name, source: source, tokens: files.File(parsed.Pos())}
	for _, declared := range parsed.Decls {
		if function, ok := declared.(*ast.FuncDecl); ok && function.Body != nil {
			f.node(function.Body)
		}
	}
	slices.SortStableFunc(f.edits, func(a, b edit) int { return a.offset - b.offset })
	var text bytes.Buffer
	at := 0
	for _, e := range f.edits {
		text.Write(source[at:e.offset])
		text.WriteString(e.text)
		at = e.offset + e.length
	}
	text.Write(source[at:])

	return text.Bytes(), nil
}

// add adds a mutant, and returns its id; 0 if there is to be none.
func (f *switched) add(n ast.Node, change string) int {
	line := f.tokens.Line(n.Pos())
	if f.skip[fmt.Sprint(f.name, ":", line)] {
		return 0
	}
	f.sites = append(f.sites, site{id: len(f.sites) + 1, file: f.name, line: line, change: change})

	return len(f.sites)
}

// text is what a node is in the source, on one line.
func (f *switched) text(n ast.Node) string {
	const most = 60
	text := []rune(strings.Join(strings.Fields(string(f.source[f.tokens.Offset(n.Pos()):f.tokens.Offset(n.End())])), " "))
	if len(text) > most {
		text = append(text[:most], '…')
	}

	return string(text)
}

func (f *switched) insert(at token.Pos, text string) {
	f.edits = append(f.edits, edit{offset: f.tokens.Offset(at), text: text})
}

// node adds the mutants of a node and of what is in it, in the order of the source.
func (f *switched) node(root ast.Node) {
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok == token.VAR
		case *ast.BlockStmt:
			f.statements(n.List)
		case *ast.CaseClause:
			for _, e := range n.List {
				f.node(e)
			}
			f.statements(n.Body)
		case *ast.CommClause:
			f.nodes(n.Comm)
			f.statements(n.Body)
		case *ast.SwitchStmt:
			if n.Tag != nil {
				return true
			}
			f.nodes(n.Init)
			for _, clause := range n.Body.List {
				clause, _ := clause.(*ast.CaseClause)
				for _, e := range clause.List {
					f.condition(e)
				}
				f.statements(clause.Body)
			}
		case *ast.IfStmt:
			f.nodes(n.Init)
			f.condition(n.Cond)
			f.nodes(n.Body, n.Else)
		case *ast.BinaryExpr:
			f.binary(n, true)
		default:
			return true
		}

		return false
	})
}

func (f *switched) nodes(nodes ...ast.Node) {
	for _, n := range nodes {
		if n != nil {
			f.node(n)
		}
	}
}

// statements adds the mutants of a block's statements: each can be left out.
func (f *switched) statements(list []ast.Stmt) {
	for _, s := range list {
		id := 0
		if canBeLeftOut(s) {
			id = f.add(s, "left out: "+f.text(s))
		}
		if id == 0 {
			f.node(s)

			continue
		}
		f.insert(s.Pos(), fmt.Sprintf("if !mutantOn(%d) { ", id))
		f.node(s)
		f.insert(s.End(), " }")
	}
}

// untold are functions whose calls are not left out: what is logged is not a promise, and locks that stay only hang.
var untold = []string{"panic", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Lock", "Unlock", "RLock", "RUnlock"} //nolint:gochecknoglobals // It is a list.

func canBeLeftOut(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.ExprStmt:
		return !isUntold(s.X)
	case *ast.DeferStmt:
		return !isUntold(s.Call)
	case *ast.AssignStmt:
		name, isName := s.Lhs[0].(*ast.Ident)

		return s.Tok != token.DEFINE && (!isName || name.Name != "_")
	case *ast.ReturnStmt:
		return len(s.Results) == 0
	case *ast.IncDecStmt, *ast.GoStmt, *ast.SendStmt, *ast.BranchStmt:
		return true
	default:
		return false
	}
}

func isUntold(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	switch called := call.Fun.(type) {
	case *ast.Ident:
		return slices.Contains(untold, called.Name)
	case *ast.SelectorExpr:
		return slices.Contains(untold, called.Sel.Name)
	default:
		return false
	}
}

// condition adds the mutants of a condition: it always holds, or never. Of one that joins others each is left out, and
// one that asks for an error is negated.
func (f *switched) condition(e ast.Expr) {
	joined, _ := e.(*ast.BinaryExpr)
	switch {
	case joined == nil:
	case joined.Op == token.LAND || joined.Op == token.LOR:
		f.binary(joined, false)

		return
	case strings.HasSuffix(strings.ToLower(f.text(joined.X)), "err") && f.text(joined.Y) == "nil":
		f.binary(joined, true)

		return
	}
	always, never := f.add(e, "always: "+f.text(e)), f.add(e, "never: "+f.text(e))
	if always == 0 {
		f.node(e)

		return
	}
	f.insert(e.Pos(), "((")
	if joined != nil {
		f.binary(joined, false)
	} else {
		f.node(e)
	}
	f.insert(e.End(), fmt.Sprintf(") && !mutantOn(%d) || mutantOn(%d))", never, always))
}

// binary adds the mutants of an operation. A comparison is negated if that is wanted.
func (f *switched) binary(n *ast.BinaryExpr, negated bool) {
	switch n.Op {
	case token.LAND:
		f.operand(n, n.X, "%s || mutantOn(%d))")
		f.operand(n, n.Y, "%s || mutantOn(%d))")
	case token.LOR:
		f.operand(n, n.X, "%s && !mutantOn(%d))")
		f.operand(n, n.Y, "%s && !mutantOn(%d))")
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		id := 0
		if negated {
			id = f.add(n, "negated: "+f.text(n))
		}
		if id == 0 {
			f.helped(n)

			return
		}
		f.insert(n.Pos(), "((")
		f.helped(n)
		f.insert(n.End(), fmt.Sprintf(") != mutantOn(%d))", id))
	default:
		f.helped(n)
	}
}

// operand adds the mutant of a joined condition without one of its parts.
func (f *switched) operand(of *ast.BinaryExpr, e ast.Expr, closing string) {
	part, _ := e.(*ast.BinaryExpr)
	if part != nil && part.Op == of.Op {
		f.binary(part, false)

		return
	}
	id := f.add(e, "without "+f.text(e)+" in "+f.text(of))
	if id != 0 {
		f.insert(e.Pos(), "((")
	}
	if part != nil {
		f.binary(part, false)
	} else {
		f.node(e)
	}
	if id != 0 {
		f.insert(e.End(), fmt.Sprintf(closing, ")", id))
	}
}

// helpers are the functions of helpersSource that make the mutants of operators, and what those do instead.
var helpers = map[token.Token][2]string{ //nolint:gochecknoglobals // It is a table.
	token.LSS: {"mutantOrder", "<="}, token.LEQ: {"mutantOrder", "<"}, token.GTR: {"mutantOrder", ">="}, token.GEQ: {"mutantOrder", ">"},
	token.ADD: {"mutantSum", "-"}, token.SUB: {"mutantSum", "+"}, token.MUL: {"mutantSum", "/"}, token.QUO: {"mutantSum", "*"},
}

// helped adds the mutant of an operator.
func (f *switched) helped(n *ast.BinaryExpr) {
	id, helper := 0, helpers[n.Op]
	if helper[0] != "" && !f.isConstant(n) {
		id = f.add(n, n.Op.String()+" is "+helper[1]+": "+f.text(n))
	}
	if id == 0 {
		f.nodes(n.X, n.Y)

		return
	}
	f.insert(n.Pos(), fmt.Sprintf("%s(%d, ", helper[0], id))
	f.node(n.X)
	f.edits = append(f.edits, edit{f.tokens.Offset(n.OpPos), len(n.Op.String()), fmt.Sprintf(", %q, ", n.Op)})
	f.node(n.Y)
	f.insert(n.End(), ")")
}

// isConstant reports whether an operation is a text or a time, as far as its words tell.
func (f *switched) isConstant(n *ast.BinaryExpr) bool {
	text := f.text(n)

	return n.Op == token.ADD && strings.ContainsAny(text, "\"`'") || n.Op == token.MUL && strings.Contains(text, "time.")
}

// helpersSource is a file for each package with switches.
const helpersSource = `package %s

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var (
	mutantNow, _  = strconv.Atoi(os.Getenv("` + envMutant + `"))
	mutantLog, _  = os.OpenFile(os.Getenv("` + envReached + `"), os.O_APPEND|os.O_WRONLY, 0)
	mutantReached [1 << 16]atomic.Bool
)

func mutantOn(n int) bool {
	if mutantLog != nil && !mutantReached[n].Swap(true) {
		fmt.Fprintln(mutantLog, n)
	}

	return n == mutantNow
}

func mutantOrder[T cmp.Ordered](n int, a T, op string, b T) bool {
	c, on := cmp.Compare(a, b), mutantOn(n)
	switch op {
	case "<":
		return c < 0 || on && c == 0
	case "<=":
		return c < 0 || !on && c == 0
	case ">":
		return c > 0 || on && c == 0
	default:
		return c > 0 || !on && c == 0
	}
}

func mutantSum[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64](n int, a T, op string, b T) T {
	if mutantOn(n) {
		op = map[string]string{"+": "-", "-": "+", "*": "/", "/": "*"}[op]
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	default:
		return a / b
	}
}
`
