// Renders templates over conversations as Ollama does, with Go's own text/template.
//
// Reads a JSON array of {"template": text, "messages": [{"role", "content"}]} on standard input and writes an array of
// {"text": text} or {"error": text}. What it knows of Ollama (template/template.go): turns of one role in a row become
// one, joined by a blank line; the template sees .Messages and .System; missing keys are empty; every node's
// identifiers are looked for, and a call of a template without an argument breaks that search.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type job struct {
	Template string    `json:"template"`
	Messages []message `json:"messages"`
	Today    string    `json:"today"`
}

type result struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
}

func join(messages []message) (string, []*message) {
	var system []string
	var joined []*message
	for i := range messages {
		turn := messages[i]
		if turn.Role == "system" {
			system = append(system, turn.Content)
		}
		if n := len(joined); n > 0 && joined[n-1].Role == turn.Role && turn.Role != "tool" {
			joined[n-1].Content += "\n\n" + turn.Content
		} else {
			joined = append(joined, &turn)
		}
	}
	return strings.Join(system, "\n\n"), joined
}

// search looks for the field .Messages, and for calls that Ollama's own search does not survive.
func search(node parse.Node, found *bool) error {
	branch := func(b *parse.BranchNode) error {
		for _, inner := range []parse.Node{b.Pipe, b.List, b.ElseList} {
			if err := search(inner, found); err != nil {
				return err
			}
		}
		return nil
	}
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, inner := range n.Nodes {
			if err := search(inner, found); err != nil {
				return err
			}
		}
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.RangeNode:
		return branch(&n.BranchNode)
	case *parse.WithNode:
		return branch(&n.BranchNode)
	case *parse.ActionNode:
		return search(n.Pipe, found)
	case *parse.TemplateNode:
		if n.Pipe == nil {
			return errors.New("template " + n.Name + " is called without an argument")
		}
		return search(n.Pipe, found)
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, command := range n.Cmds {
			for _, argument := range command.Args {
				if err := search(argument, found); err != nil {
					return err
				}
			}
		}
	case *parse.FieldNode:
		for _, name := range n.Ident {
			*found = *found || strings.EqualFold(name, "messages")
		}
	}
	return nil
}

func render(one job) (string, error) {
	functions := template.FuncMap{
		"json": func(value any) string { text, _ := json.Marshal(value); return string(text) },
		"currentDate": func(...string) string {
			if one.Today != "" {
				return one.Today
			}
			return time.Now().Format("2006-01-02")
		},
	}
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(one.Template)
	if err != nil {
		return "", err
	}
	found := false
	for _, each := range parsed.Templates() {
		if err := search(each.Root, &found); err != nil {
			return "", err
		}
	}
	if !found {
		return "", errors.New("the template does not range over .Messages")
	}
	system, messages := join(one.Messages)
	var out bytes.Buffer
	err = parsed.Execute(&out, map[string]any{
		"System": system, "Messages": messages, "Tools": nil, "Response": "", "Think": false, "IsThinkSet": false,
	})
	return out.String(), err
}

func main() {
	var jobs []job
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	results := make([]result, len(jobs))
	for i, one := range jobs {
		text, err := render(one)
		if err != nil {
			results[i].Error = err.Error()
		} else {
			results[i].Text = text
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(results); err != nil {
		os.Exit(1)
	}
}
