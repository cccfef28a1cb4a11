package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxBrackets bounds what is handed to the YAML parser, which recurses at each
// opening bracket.
const maxBrackets = 1000

// file sets what the YAML document names. Anchors, aliases, merges and tags
// are refused: a flat file has no use for them, and without them no value can
// come from a line other than its own.
func (l *loader) file(name string, data []byte) {
	root, err := parseYAML(data)
	if err != nil {
		l.fail(syntaxProblem(name, err))
		return
	}
	switch root := root.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return
	case *ast.MappingNode:
		l.mapping(name, "", root)
	default:
		l.fail(Problem{Where: place(name, root), Text: "the file must hold keys and values, such as domain: example.org"})
	}
}

// parseYAML returns the only document of data, nil when it is empty.
func parseYAML(data []byte) (root ast.Node, err error) {
	// The parser is somebody else's and the input anybody's: a panic in it is
	// bad input to us.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, errors.New("the file is not YAML that can be read")
		}
	}()
	if !utf8.Valid(data) {
		return nil, errors.New("the file is not valid UTF-8")
	}
	if strings.Count(string(data), "[")+strings.Count(string(data), "{") > maxBrackets {
		return nil, errors.New("the file holds too many brackets")
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, err
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			return nil, errors.New("the file holds several documents")
		}
		root = doc.Body
	}
	return root, nil
}

func syntaxProblem(name string, err error) Problem {
	var syntax yaml.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil && syntax.GetToken().Position != nil {
		return Problem{Where: fmt.Sprintf("%s:%d", name, syntax.GetToken().Position.Line), Text: syntax.GetMessage()}
	}
	return Problem{Where: name, Text: err.Error()}
}

// mapping walks the keys of one level; prefix is its section with a dot.
func (l *loader) mapping(name, prefix string, m *ast.MappingNode) {
	for _, entry := range m.Values {
		label, ok := keyText(entry.Key)
		if !ok {
			l.fail(Problem{Where: place(name, entry.Key), Text: "a key must be plain text"})
			continue
		}
		full := prefix + label
		k, known := keyNamed(full)
		switch {
		case known:
			l.node(k, entry.Value, Source{Kind: FromFile, Place: place(name, entry.Key)})
		case prefix == "" && isSection(full):
			l.section(name, full, entry)
		default:
			l.fail(unknownKey(place(name, entry.Key), full))
		}
	}
}

// section walks into a section; one without keys is fine, as after
// commenting them out.
func (l *loader) section(name, sec string, entry *ast.MappingValueNode) {
	switch value := entry.Value.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		l.mapping(name, sec+".", value)
	default:
		l.fail(Problem{Where: place(name, entry.Key), Key: sec, Text: "it is a section", Fix: "write its keys below it, indented"})
	}
}

// node sets a key from a YAML value.
func (l *loader) node(k key, value ast.Node, from Source) {
	if seq, ok := value.(*ast.SequenceNode); ok {
		l.sequence(k, seq, from)
		return
	}
	if _, isList := k.field(&l.config).(*[]string); isList {
		l.fail(k.problem(from.Place, describe(value), errShape))
		return
	}
	text, s := scalar(value)
	if s == shapeOther {
		l.fail(k.problem(from.Place, describe(value), errShape))
		return
	}
	if err := k.set(&l.config, text, s); err != nil {
		l.fail(k.problem(from.Place, text, err))
		return
	}
	l.config.sources[k.name] = from
}

func (l *loader) sequence(k key, seq *ast.SequenceNode, from Source) {
	if _, isList := k.field(&l.config).(*[]string); !isList {
		l.fail(k.problem(from.Place, "a list", errShape))
		return
	}
	var list []string
	for i, value := range seq.Values {
		text, s := scalar(value)
		if s != shapeText || len(text) > maxText || strings.ContainsRune(text, 0) {
			l.fail(k.problem(from.Place, fmt.Sprintf("entry %d", i+1), errShape))
			return
		}
		list = append(list, text)
	}
	l.list(k, list, from)
}

// listYAML sets a list that a flag or variable wrote as YAML.
func (l *loader) listYAML(k key, text string, from Source) {
	root, err := parseYAML([]byte(text))
	if err != nil {
		l.fail(k.problem(from.Place, text, errors.New("it is not a YAML list")))
		return
	}
	l.node(k, root, from)
}

// scalar returns the text of a value and its shape.
func scalar(value ast.Node) (string, shape) {
	switch v := value.(type) {
	case *ast.StringNode:
		return v.Value, shapeText
	case *ast.LiteralNode:
		return v.Value.Value, shapeText
	case *ast.IntegerNode:
		return v.GetToken().Value, shapeNumber
	case *ast.BoolNode:
		return fmt.Sprint(v.Value), shapeBool
	}
	return "", shapeOther
}

// describe names a value that is not a scalar of use.
func describe(value ast.Node) string {
	switch value.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return "an anchor, alias or tag"
	}
	return strings.TrimSpace(value.GetToken().Value)
}

func keyText(k ast.MapKeyNode) (string, bool) {
	if s, ok := k.(*ast.StringNode); ok && len(s.Value) <= 256 {
		return s.Value, true
	}
	return "", false
}

// place is file:line of a node.
func place(name string, n ast.Node) string {
	if tok := n.GetToken(); tok != nil && tok.Position != nil {
		return fmt.Sprintf("%s:%d", name, tok.Position.Line)
	}
	return name
}
