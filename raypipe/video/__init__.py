"""Reading video: probing, decoding and HEVC motion vectors, with PyAV."""
