package hub

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// checkRepo accepts "name" and "org/name" as the hub does: letters, digits, ".", "_" and "-", at most 96
// characters, no two dots or hyphens in a row, none at the ends.
func checkRepo(repo string) error {
	parts := strings.Split(repo, "/")
	ok := len(repo) <= 96 && len(parts) <= 2
	for _, p := range parts {
		ok = ok && p != "" && strings.Trim(p, ".-") == p && !strings.Contains(p, "--") && !strings.Contains(p, "..")
		for _, r := range p {
			ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
		}
	}
	if !ok {
		return fmt.Errorf("%w: repository %.120q", ErrName, repo)
	}
	return nil
}

// repoFolder is the name of a repository's folder in the cache.
func repoFolder(repo string) string { return "models--" + strings.ReplaceAll(repo, "/", "--") }

// checkRevision accepts what may be a file name below refs.
func checkRevision(rev string) error {
	ok := len(rev) <= 255 && local(rev)
	for _, r := range rev {
		ok = ok && r > ' ' && r != 0x7f && !strings.ContainsRune(`?*[~^:`, r)
	}
	if !ok {
		return fmt.Errorf("%w: revision %.255q", ErrName, rev)
	}
	return nil
}

// local reports whether a path with forward slashes stays below its root on every system.
func local(p string) bool {
	return p != "" && p != "." && !strings.ContainsAny(p, "\\:\x00") && path.Clean(p) == p && filepath.IsLocal(filepath.FromSlash(p))
}

// isCommit reports whether a revision is the full name of a commit.
func isCommit(rev string) bool { return isHex(rev, 40) }

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Names of files that encoder.Open looks at.
var wanted = []string{
	"config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json",
	"sentence_roberta_config.json", "sentence_xlm-roberta_config.json", "router_config.json", "artifact.metadata",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
	"vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "colbert_linear.pt",
	"adapter_config.json", "adapter_model.safetensors", "delta.json", "delta.safetensors",
}

// weights are the forms of a folder's weights, the preferred one first. An index brings its parts with it.
var weights = []string{"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"}

// choose picks the files to download from all files of a repository: those of the root and of the modules'
// folders (1_Dense).
func choose(files []string) []string {
	folders := map[string]map[string]bool{}
	for _, f := range files {
		dir, name := path.Split(f)
		if dir = strings.TrimSuffix(dir, "/"); dir != "" && !isModule(dir) {
			continue
		}
		if folders[dir] == nil {
			folders[dir] = map[string]bool{}
		}
		folders[dir][name] = true
	}
	var out []string
	for dir, names := range folders {
		add := func(name string) {
			if names[name] {
				out = append(out, path.Join(dir, name))
			}
		}
		for _, n := range wanted {
			add(n)
		}
		for _, w := range weights {
			if !names[w] {
				continue
			}
			add(w)
			if stem, ok := strings.CutSuffix(w, ".index.json"); ok {
				for n := range names {
					if isShard(n, stem) {
						add(n)
					}
				}
			}
			break
		}
	}
	slices.Sort(out)
	return out
}

// isModule reports whether a folder has the name that sentence-transformers gives modules: 1_Dense.
func isModule(dir string) bool {
	n, kind, ok := strings.Cut(dir, "_")
	return ok && n != "" && kind != "" && strings.Trim(n, "0123456789") == "" && !strings.Contains(dir, "/")
}

// isShard reports whether a file is a part of "model.safetensors", such as model-00001-of-00002.safetensors.
func isShard(name, whole string) bool {
	ext := path.Ext(whole)
	stem := strings.TrimSuffix(whole, ext)
	mid, ok := strings.CutPrefix(name, stem+"-")
	return ok && strings.HasSuffix(mid, ext)
}
