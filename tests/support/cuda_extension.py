"""Code of a stand-in for nnabla_ext.cudnn, which programs import in its place."""

FAKE_EXTENSION = """
import ctypes, os
HOME = os.environ['OMPI_HOME']
LIBRARY = ctypes.CDLL(HOME + '/lib/libmpi.so') and os.path.realpath(HOME + '/lib/libmpi.so')
print('noise of an import')
os.write(2, b'noise of a library\\n')
"""
