"""The four stages of Section 4.1, driven by caffe train, and stage 0 before them."""
