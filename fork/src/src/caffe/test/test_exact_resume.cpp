#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/util/db.hpp"
#include "caffe/util/format.hpp"
#include "caffe/util/io.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

#ifdef USE_LMDB
class SeekTest : public ::testing::TestWithParam<vector<string> > {};

TEST_P(SeekTest, GoesWhereStepsLead) {
  string folder;
  MakeTempDir(&folder);
  {
    shared_ptr<db::DB> database(db::GetDB("lmdb"));
    database->Open(folder + "/db", db::NEW);
    shared_ptr<db::Transaction> transaction(database->NewTransaction());
    for (const string& key : GetParam()) { transaction->Put(key, "value of " + key); }
    transaction->Commit();
  }
  shared_ptr<db::DB> database(db::GetDB("lmdb"));
  database->Open(folder + "/db", db::READ);
  shared_ptr<db::Cursor> walked(database->NewCursor()), sought(database->NewCursor());
  for (int n = 0; n < 3 * GetParam().size(); ++n) {
    sought->SeekTo(n);
    ASSERT_TRUE(sought->valid());
    EXPECT_EQ(walked->key(), sought->key()) << n;
    EXPECT_EQ(walked->value(), sought->value()) << n;
    walked->Next();
    if (!walked->valid()) { walked->SeekToFirst(); }
    sought->Next();
    EXPECT_EQ(n % GetParam().size() + 1 < GetParam().size(), sought->valid()) << n;
    if (sought->valid()) { EXPECT_EQ(walked->key(), sought->key()) << n; }
  }
}

static vector<string> Numbered(int count, const string& behind) {
  vector<string> keys;
  for (int i = 0; i < count; ++i) { keys.push_back(format_int(i, 3) + behind); }
  return keys;
}

static vector<string> Without(vector<string> keys, int left_out) {
  keys.erase(keys.begin() + left_out);
  return keys;
}

INSTANTIATE_TEST_CASE_P(Keys, SeekTest, ::testing::Values(
    Numbered(1, ""), Numbered(12, ""), Numbered(12, "_n0144/5.jpg"),
    // Numbers that are not the records': one left out, of several lengths, from 1 on.
    Without(Numbered(12, ""), 5), Without(Numbered(12, "a"), 11),
    vector<string>{"0", "1", "10", "2"}, vector<string>{"001", "002"},
    vector<string>{"a", "b", "c"}, vector<string>{"00000000000000000000", "1"}));
#endif  // USE_LMDB

}  // namespace caffe
