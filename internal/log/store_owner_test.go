package log

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// ownMeta is a meta.properties of this node.
func ownMeta(id ids.DirectoryID) string {
	return fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\nmoldau.format=1\n", testCluster, testNode, id)
}

// TestOpenStoreRefuses has one case for each way in which directories are not this node's, or not in
// a state to open: one message that says what to do, and nothing changed.
func TestOpenStoreRefuses(t *testing.T) {
	one, two := ids.NewUUID(), ids.NewUUID()
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"another node's", map[string]string{"a/meta.properties": strings.Replace(ownMeta(one), "node.id=7", "node.id=3", 1)},
			[]string{"belongs to node 3, this is node 7", "correct node.id"}},
		{"another cluster's", map[string]string{"a/meta.properties": strings.Replace(ownMeta(one), testCluster, "Other", 1)},
			[]string{"belongs to cluster Other", testCluster}},
		{"of two clusters", map[string]string{"a/meta.properties": ownMeta(one), "b/meta.properties": strings.Replace(ownMeta(two), testCluster, "Other", 1)},
			[]string{"/b belongs to cluster Other", testCluster}},
		{"a copy", map[string]string{"a/meta.properties": ownMeta(one), "b/meta.properties": ownMeta(one)},
			[]string{"same directory.id", "remove the copy"}},
		{"meta.properties is garbage", map[string]string{"a/meta.properties": "\x00\x01\x02"},
			[]string{"meta.properties", "restore it from a backup"}},
		{"meta.properties is cut", map[string]string{"a/meta.properties": "version=1\n"},
			[]string{"meta.properties", "node.id"}},
		{"of a later release", map[string]string{"a/meta.properties": strings.Replace(ownMeta(one), "format=1", "format=9", 1)},
			[]string{"moldau.format is 9"}},
		{"Kafka's metadata", map[string]string{
			"a/meta.properties": "version=1\ncluster.id=" + testCluster + "\nnode.id=7\n", "a/__cluster_metadata-0/quorum-state": "{}"},
			[]string{"Apache Kafka", "topic adopt"}},
		{"metadata without meta.properties", map[string]string{"a/__cluster_metadata-0/quorum-state": "{}"},
			[]string{"no meta.properties", "restore that file"}},
		{"somebody's home", map[string]string{"a/letter.txt": "Dear", "a/Music/song": "la"},
			[]string{"no data directory and not empty", "Music, letter.txt"}},
		{"one partition twice", map[string]string{"a/meta.properties": ownMeta(one), "b/meta.properties": ownMeta(two), "a/t-0/x": "", "b/t-0/x": ""},
			[]string{"t-0 is in two data directories", "move"}},
		{"recovery points are garbage", map[string]string{"a/meta.properties": ownMeta(one), "a/recovery-point-offset-checkpoint": "zero"},
			[]string{"recovery-point-offset-checkpoint", "remove it"}},
		{"log starts are garbage", map[string]string{"a/meta.properties": ownMeta(one), "a/log-start-offset-checkpoint": "0\n5\n"},
			[]string{"log-start-offset-checkpoint", "remove it"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachStoreFS(t, func(t *testing.T, fsys vfs.FS, root string) {
				cfg := storeConfig(fsys, filepath.Join(root, "a"), filepath.Join(root, "b"))
				for name, content := range tc.files {
					writeTestFile(t, fsys, filepath.Join(root, name), content)
				}
				// A directory without meta.properties would be formatted; that may have happened before the refusal.
				if _, ok := tc.files["b/meta.properties"]; !ok {
					writeTestFile(t, fsys, filepath.Join(root, "b/meta.properties"), ownMeta(two))
				}
				before := tree(t, fsys, root)
				s, err := OpenStore(cfg)
				if err == nil {
					s.Close()
					t.Fatal("it opened")
				}
				for _, want := range tc.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q does not say %q", err, want)
					}
				}
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("more than one message: %q", err)
				}
				if after := tree(t, fsys, root); after != before {
					t.Errorf("the directories were changed from\n%sto\n%s", before, after)
				}
				// Every lock has been given back.
				for _, d := range cfg.Dirs {
					l, err := fsys.Lock(filepath.Join(d, lockFile))
					if err != nil {
						t.Fatal(err)
					}
					l.Close()
				}
			})
		})
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	eachStoreFS(t, func(t *testing.T, fsys vfs.FS, root string) {
		s := openedStore(t, storeConfig(fsys, filepath.Join(root, "a"), filepath.Join(root, "b")))
		_, err := OpenStore(storeConfig(fsys, filepath.Join(root, "c"), filepath.Join(root, "b")))
		if err == nil || !strings.Contains(err.Error(), "in use by another broker") {
			t.Fatal(err)
		}
		closedStore(t, s)
		closedStore(t, openedStore(t, storeConfig(fsys, filepath.Join(root, "c"), filepath.Join(root, "b"))))
	})
}

func TestDirectoriesAreNamedOnce(t *testing.T) {
	if _, err := OpenStore(storeConfig(vfs.NewMem(), "/a", "/a/")); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Fatal(err)
	}
	if _, err := OpenStore(storeConfig(vfs.NewMem())); err == nil {
		t.Fatal("no directory is enough")
	}
}

// TestKafkasDirectoryOpensAsData: one that Apache Kafka formatted becomes this node's, ids kept.
func TestKafkasDirectoryOpensAsData(t *testing.T) {
	mem := vfs.NewMem()
	s := openedStore(t, storeConfig(mem, "/a"))
	appendValues(t, createdLog(t, s, partition("t", 0)), "x")
	closedStore(t, s)
	id := ids.NewUUID()
	writeTestFile(t, mem, "/a/meta.properties", fmt.Sprintf("#\n#Fri Nov 07 10:00:00 UTC 2025\ncluster.id=%s\ndirectory.id=%s\nnode.id=7\nversion=1\n", testCluster, id))
	writeTestFile(t, mem, "/a/bootstrap.checkpoint", "x")
	cfg := storeConfig(mem, "/a")
	cfg.ClusterID = ""
	s = openedStore(t, cfg)
	defer s.Close()
	if s.ClusterID() != testCluster || s.Dirs()[0].ID != id {
		t.Fatalf("cluster %s, directory %s", s.ClusterID(), s.Dirs()[0].ID)
	}
	wantValues(t, s.Log(partition("t", 0)), "x")
	if m, _, err := readMetaProperties(mem, "/a"); err != nil || m.Format != moldauFormat {
		t.Fatalf("%+v, %v", m, err)
	}
}

// TestClusterIDComesLater: the first leader makes it, all directories get it.
func TestClusterIDComesLater(t *testing.T) {
	mem := vfs.NewMem()
	cfg := storeConfig(mem, "/a", "/b")
	cfg.ClusterID, cfg.MetadataDir = "", "/meta"
	s := openedStore(t, cfg)
	if s.ClusterID() != "" || len(s.Dirs()) != 2 {
		t.Fatal(s.ClusterID(), s.Dirs())
	}
	if err := s.SetClusterID(testCluster); err != nil {
		t.Fatal(err)
	}
	if err := s.SetClusterID("Other"); err == nil {
		t.Fatal("another cluster's id was taken")
	}
	closedStore(t, s)
	for _, dir := range []string{"/a", "/b", "/meta"} {
		if m, found, err := readMetaProperties(mem, dir); !found || err != nil || m.ClusterID != testCluster {
			t.Fatalf("%s: %+v, %v", dir, m, err)
		}
	}
	s = openedStore(t, cfg)
	defer s.Close()
	if s.ClusterID() != testCluster {
		t.Fatal(s.ClusterID())
	}
}
