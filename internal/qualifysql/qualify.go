package main

import (
	"errors"
	"fmt"
	"regexp"

	pgtree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// catalog is the schema of what comes with PostgreSQL.
const catalog = "pg_catalog"

// lockWait is where the program that writes SQL forgets a space.
var lockWait = regexp.MustCompile(`( OF [a-z_, ]+)(SKIP LOCKED|NOWAIT)`)

// qualify returns a statement with the schema of every function, operator, type and collation: that of
// PostgreSQL where none is named. Tables must have one. What cannot carry a schema is an error.
func qualify(sql string) (string, error) {
	tree, err := pgquery.Parse(sql)
	if err != nil {
		return "", fmt.Errorf("parse: %w", err)
	}
	q := &qualifier{known: map[string]bool{}, aliases: map[*pgtree.RangeVar]bool{}}
	walk(tree.ProtoReflect(), q.collect)
	walk(tree.ProtoReflect(), q.qualify)
	if q.err != nil {
		return "", q.err
	}
	text, err := pgquery.Deparse(tree)
	if err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	text = lockWait.ReplaceAllString(text, "$1 $2")
	// An operator with a schema binds in another way than without: what was written must be what was meant.
	again, err := pgquery.Parse(text)
	if err != nil {
		return "", fmt.Errorf("parse what was written (%s): %w", text, err)
	}
	walk(tree.ProtoReflect(), forgetPlace)
	walk(again.ProtoReflect(), forgetPlace)
	if !proto.Equal(tree, again) {
		return "", fmt.Errorf("what was written means something else, use parentheses: %s", text)
	}

	return text, nil
}

// walk visits a message and all that is in it, from the outside in.
func walk(m protoreflect.Message, visit func(protoreflect.Message)) {
	visit(m)
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				walk(value.List().Get(i).Message(), visit)
			}
		default:
			walk(value.Message(), visit)
		}

		return true
	})
}

// forgetPlace removes where in the text a node stands.
func forgetPlace(m protoreflect.Message) {
	for _, name := range []protoreflect.Name{"location", "stmt_len", "stmt_location"} {
		if field := m.Descriptor().Fields().ByName(name); field != nil {
			m.Clear(field)
		}
	}
}

type qualifier struct {
	known   map[string]bool           // names of common table expressions
	aliases map[*pgtree.RangeVar]bool // in FOR UPDATE OF
	err     error                     // the first
}

func (q *qualifier) fail(reason string) {
	if q.err == nil {
		q.err = errors.New(reason)
	}
}

func (q *qualifier) collect(m protoreflect.Message) {
	switch node := m.Interface().(type) {
	case *pgtree.CommonTableExpr:
		q.known[node.GetCtename()] = true
	case *pgtree.LockingClause:
		for _, alias := range node.GetLockedRels() {
			q.aliases[alias.GetRangeVar()] = true
		}
	}
}

func (q *qualifier) qualify(m protoreflect.Message) {
	switch node := m.Interface().(type) {
	case *pgtree.Node:
		if expr := node.GetAExpr(); expr.GetKind() == pgtree.A_Expr_Kind_AEXPR_NULLIF {
			node.Node = nullif(expr)
		}
	case *pgtree.FuncCall:
		node.Funcname = qualified(node.GetFuncname())
	case *pgtree.TypeName:
		node.Names = qualified(node.GetNames())
	case *pgtree.CollateClause:
		node.Collname = qualified(node.GetCollname())
	case *pgtree.A_Expr:
		q.operator(node)
	case *pgtree.SubLink:
		q.subquery(node)
	case *pgtree.RangeVar:
		if node.GetSchemaname() == "" && !q.known[node.GetRelname()] && !q.aliases[node] {
			q.fail("the table " + node.GetRelname() + " has no schema")
		}
	case *pgtree.CaseExpr:
		if node.GetArg() != nil {
			q.fail("CASE x WHEN y compares without a schema: write CASE WHEN x = y")
		}
	case *pgtree.JoinExpr:
		if node.GetIsNatural() || len(node.GetUsingClause()) > 0 {
			q.fail("USING and NATURAL compare without a schema: write ON")
		}
	}
}

func (q *qualifier) operator(expr *pgtree.A_Expr) {
	switch expr.GetKind() {
	case pgtree.A_Expr_Kind_AEXPR_OP, pgtree.A_Expr_Kind_AEXPR_OP_ANY, pgtree.A_Expr_Kind_AEXPR_OP_ALL:
	case pgtree.A_Expr_Kind_AEXPR_IN: // x IN (a, b) is x = ANY (ARRAY[a, b]), x NOT IN (a, b) is x <> ALL (ARRAY[a, b]).
		expr.Kind = pgtree.A_Expr_Kind_AEXPR_OP_ANY
		if name(expr.GetName()) == "<>" {
			expr.Kind = pgtree.A_Expr_Kind_AEXPR_OP_ALL
		}
		elements := expr.GetRexpr().GetList().GetItems()
		expr.Rexpr = &pgtree.Node{Node: &pgtree.Node_AArrayExpr{AArrayExpr: &pgtree.A_ArrayExpr{Elements: elements}}}
	default:
		q.fail("LIKE, BETWEEN, IS DISTINCT FROM and their kind compare without a schema: write operators")
	}
	expr.Name = qualified(expr.GetName())
}

func (q *qualifier) subquery(link *pgtree.SubLink) {
	if link.GetSubLinkType() != pgtree.SubLinkType_ANY_SUBLINK && link.GetSubLinkType() != pgtree.SubLinkType_ALL_SUBLINK {
		return
	}
	if len(link.GetOperName()) == 0 { // IN
		link.OperName = []*pgtree.Node{pgtree.MakeStrNode("=")}
	}
	link.OperName = qualified(link.GetOperName())
}

// nullif is NULLIF, which compares without a schema, in other words.
func nullif(expr *pgtree.A_Expr) *pgtree.Node_CaseExpr {
	left, right := expr.GetLexpr(), expr.GetRexpr()
	equal := pgtree.MakeAExprNode(pgtree.A_Expr_Kind_AEXPR_OP, expr.GetName(), left, right, 0)
	value := proto.CloneOf(left)
	null := &pgtree.Node{Node: &pgtree.Node_AConst{AConst: &pgtree.A_Const{Isnull: true}}}

	return &pgtree.Node_CaseExpr{CaseExpr: &pgtree.CaseExpr{
		Args:      []*pgtree.Node{{Node: &pgtree.Node_CaseWhen{CaseWhen: &pgtree.CaseWhen{Expr: equal, Result: null}}}},
		Defresult: value,
	}}
}

// qualified returns a name with a schema.
func qualified(parts []*pgtree.Node) []*pgtree.Node {
	if len(parts) != 1 {
		return parts
	}

	return []*pgtree.Node{pgtree.MakeStrNode(catalog), parts[0]}
}

// name returns the last part of a name.
func name(parts []*pgtree.Node) string { return parts[len(parts)-1].GetString_().GetSval() }
