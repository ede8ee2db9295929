"""Data: the bundled digits, splits, scaling, and tables from files."""

from .augment import shift_images as shift_images
from .digits import load_digits as load_digits
from .encoder import TableEncoder as TableEncoder
from .scaling import StandardScaler as StandardScaler
from .split import split_rows as split_rows, train_test_split as train_test_split
from .table import Table as Table, read_table as read_table
