"""Networks and weights in Caffe's own files: read, built, compared, deployed."""
