// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFind spoils a folder below "all/ext" whose speaker-x is well, in one way each, and looks at what Find says. FOLDER
// stands for the folder above.
func TestFind(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(at func(string) string) error
		want  string // empty where it is found
	}{
		{"well", func(func(string) string) error { return nil }, ""},
		{"link within the folder", func(at func(string) string) error {
			return errors.Join(os.Rename(at("ext/speaker-x"), at("ext/speaker-x-2")), os.Symlink("speaker-x-2", at("ext/speaker-x")))
		}, ""},
		{"link to the folder", func(at func(string) string) error {
			return errors.Join(os.Rename(at("ext"), at("real")), os.Symlink(at("real"), at("ext")))
		}, ""},
		{"below a sticky folder of all", func(at func(string) string) error { return os.Chmod(at(""), 0o777|fs.ModeSticky) }, ""},
		{"missing", func(at func(string) string) error { return os.Remove(at("ext/speaker-x")) },
			"lstat FOLDER/ext/speaker-x: no such file or directory: install it, or correct the name"},
		{"no folder", func(at func(string) string) error { return os.RemoveAll(at("ext")) },
			"lstat FOLDER/ext: no such file or directory: install it, or correct the name"},
		{"another's", func(at func(string) string) error { return os.Chown(at("ext/speaker-x"), 1000, 0) },
			"FOLDER/ext/speaker-x belongs to user 1000: chown root FOLDER/ext/speaker-x"},
		{"group may write", func(at func(string) string) error { return os.Chmod(at("ext/speaker-x"), 0o775) },
			"FOLDER/ext/speaker-x can be written by others than root: chmod go-w FOLDER/ext/speaker-x"},
		{"all may write", func(at func(string) string) error { return os.Chmod(at("ext/speaker-x"), 0o757) },
			"FOLDER/ext/speaker-x can be written by others than root: chmod go-w FOLDER/ext/speaker-x"},
		{"another's folder", func(at func(string) string) error { return os.Chown(at("ext"), 1000, 0) },
			"FOLDER/ext belongs to user 1000: chown root FOLDER/ext"},
		{"folder of all", func(at func(string) string) error { return os.Chmod(at("ext"), 0o777) },
			"FOLDER/ext can be written by others than root: chmod go-w FOLDER/ext"},
		{"sticky folder of all", func(at func(string) string) error { return os.Chmod(at("ext"), 0o777|fs.ModeSticky) },
			"FOLDER/ext can be written by others than root: chmod go-w FOLDER/ext"},
		{"folder above of all", func(at func(string) string) error { return os.Chmod(at(""), 0o777) },
			"FOLDER can be written by others than root: chmod go-w FOLDER"},
		{"another's folder above", func(at func(string) string) error { return os.Chown(at(""), 1000, 0) },
			"FOLDER belongs to user 1000: chown root FOLDER"},
		{"link out of the folder", func(at func(string) string) error {
			return errors.Join(os.Rename(at("ext/speaker-x"), at("speaker-x")), os.Symlink("../speaker-x", at("ext/speaker-x")))
		}, "FOLDER/ext/speaker-x is a symbolic link to FOLDER/speaker-x: put the program itself into the folder"},
		{"another's link", func(at func(string) string) error {
			return errors.Join(os.Rename(at("ext/speaker-x"), at("ext/real")), os.Symlink("real", at("ext/speaker-x")),
				os.Lchown(at("ext/speaker-x"), 1000, 0))
		}, "FOLDER/ext/speaker-x belongs to user 1000: chown root FOLDER/ext/speaker-x"},
		{"link to another's folder", func(at func(string) string) error {
			return errors.Join(os.Rename(at("ext"), at("real")), os.Symlink(at("real"), at("ext")), os.Chown(at("real"), 1000, 0))
		}, "FOLDER/real belongs to user 1000: chown root FOLDER/real"},
		{"link to nothing", func(at func(string) string) error {
			return errors.Join(os.Remove(at("ext/speaker-x")), os.Symlink("nothing", at("ext/speaker-x")))
		}, "lstat FOLDER/ext/nothing: no such file or directory: install it, or correct the name"},
		{"folder in its place", func(at func(string) string) error {
			return errors.Join(os.Remove(at("ext/speaker-x")), os.Mkdir(at("ext/speaker-x"), 0o755))
		}, "FOLDER/ext/speaker-x is no regular file: put the program itself there"},
		{"not executable", func(at func(string) string) error { return os.Chmod(at("ext/speaker-x"), 0o644) },
			"FOLDER/ext/speaker-x cannot be executed: chmod +x FOLDER/ext/speaker-x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "all")
			at := func(path string) string { return filepath.Join(folder, path) }
			err := errors.Join(os.MkdirAll(at("ext"), 0o755), os.WriteFile(at("ext/speaker-x"), nil, 0o755), test.spoil(at))
			if err != nil {
				t.Fatal(err)
			}
			path, err := Dir{at("ext")}.Find("speaker", "x")
			if test.want == "" && (err != nil || path != at("ext/speaker-x")) {
				t.Errorf("Find() = %q, %v", path, err)
			}
			want := "find speaker x: " + strings.ReplaceAll(test.want, "FOLDER", folder)
			if test.want != "" && (err == nil || err.Error() != want) {
				t.Errorf("Find() = %q, %v, want %q", path, err, want)
			}
		})
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "gobgp", "0", "a-b", strings.Repeat("a", 40)} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "-", "a-", "-a", "A", "a b", "../a", "a/b", "a.b", "a_b", "ä", "a\n", strings.Repeat("a", 41)} {
		if _, err := (Dir{t.TempDir()}).Find("speaker", bad); err == nil || !strings.Contains(err.Error(), "name an extension") {
			t.Errorf("Find(%q) = %v", bad, err)
		}
	}
}
